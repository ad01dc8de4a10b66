// Pre-splitting by any pattern, in PCRE2.
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "text/pre_split.h"
#include "text/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace dynamo::text {
namespace {

constexpr uint32_t kMatchLimit = 50'000'000;   // steps of one match
constexpr uint32_t kHeapLimit = 64 * 1024;     // KiB, of the interpreter
constexpr size_t kLongestPattern = 64 * 1024;  // bytes

struct PcreFree {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
};

std::string error_text(int error) {
  std::string text(256, '\0');
  const int size = pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(text.data()), text.size());
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return text;
}

// Patterns are written for Oniguruma's Ruby syntax. Rewritten: \s and \S, which in PCRE2 hold U+180E too. Refused: what
// PCRE2 would read as something else.
Result<std::string> to_pcre2(std::string_view pattern) {
  std::string out;
  bool is_in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const char next = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (c == '\\' && next != '\0') {
      ++i;
      if (next == 's' || next == 'S') {
        out += next == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
      } else if (next == 'h' || next == 'H' || next == 'K' || next == 'C' || next == 'Q') {
        return unsupported(fmt::format("\\{} at {} of the split pattern", next, i - 1));
      } else {
        out += {c, next};
      }
      continue;
    }
    if (is_in_class && ((c == '[' && next != ':') || (c == '&' && next == '&')))
      return unsupported(fmt::format("a class in a class at {} of the split pattern", i));
    if (c == '(' && next == '*') return unsupported(fmt::format("(* at {} of the split pattern", i));
    if (c == '[' && !is_in_class) {
      is_in_class = true;
      out += c;
      if (next == '^') out += pattern[++i];
      continue;
    }
    if (is_in_class && c == '[') {  // [:alpha:]
      const size_t end = pattern.find(":]", i + 2);
      if (end == std::string_view::npos) return invalid(fmt::format("[: without :] at {} of the split pattern", i));
      out += pattern.substr(i, end + 2 - i);
      i = end + 1;
      continue;
    }
    if (c == ']') is_in_class = false;
    out += c;
  }
  return out;
}

class RegexSplitter : public PieceSplitter {
 public:
  explicit RegexSplitter(std::unique_ptr<pcre2_code, PcreFree> code)
      : code_(std::move(code)), context_(pcre2_match_context_create(nullptr)) {
    CHECK(context_ != nullptr);
    pcre2_set_match_limit(context_.get(), kMatchLimit);
    pcre2_set_heap_limit(context_.get(), kHeapLimit);
  }

  void split(std::string_view text, size_t offset, PieceEnds* ends) const override {
    const std::unique_ptr<pcre2_match_data, PcreFree> match(pcre2_match_data_create(1, nullptr));
    CHECK(match != nullptr);
    size_t cut = 0;   // the last end
    size_t from = 0;  // where the next match may begin
    const auto cut_at = [&](size_t end) {
      if (end > cut) ends->push_back(offset + end);
      cut = std::max(cut, end);
    };
    while (from < text.size() && find(text, from, match.get())) {
      const size_t* bounds = pcre2_get_ovector_pointer(match.get());
      cut_at(bounds[0]);
      cut_at(bounds[1]);
      from = std::max(bounds[1], from);
      if (bounds[1] == bounds[0] && from < text.size()) from += valid_character(text.data() + from).size;
    }
    cut_at(text.size());
  }

 private:
  bool find(std::string_view text, size_t from, pcre2_match_data* match) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    int found = pcre2_match(code_.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK, match, context_.get());
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found = pcre2_match(code_.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match,
                          context_.get());
    }
    return found >= 0;
  }

  std::unique_ptr<pcre2_code, PcreFree> code_;
  std::unique_ptr<pcre2_match_context, PcreFree> context_;
};

}  // namespace

Result<std::unique_ptr<const PieceSplitter>> regex_splitter(std::string_view pattern) {
  if (pattern.size() > kLongestPattern) return invalid("a split pattern is longer than 64 KiB");
  TRY(const std::string translated, to_pcre2(pattern));
  int error = 0;
  size_t place = 0;
  std::unique_ptr<pcre2_code, PcreFree> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &place, nullptr));
  if (code == nullptr) {
    return invalid(fmt::format("the split pattern \"{}\" does not compile: {} at {}", translated.substr(0, 200),
                               error_text(error), place));
  }
  // Without a JIT for this machine the interpreter runs, to the same end.
  static_cast<void>(pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE));
  return std::unique_ptr<const PieceSplitter>(std::make_unique<RegexSplitter>(std::move(code)));
}

}  // namespace dynamo::text
