// The known pre-split patterns, each as one pass over the text.
#include <array>

#include "text/pre_split.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace dynamo::text {
namespace {

constexpr uint8_t kOther = 0;  // neither letter, number nor space
constexpr uint8_t kKind = kLetter | kNumber | kSpace;

struct AsciiKinds {
  std::array<uint8_t, 128> kind{};
  constexpr AsciiKinds() {
    for (int c = 0; c < 128; ++c) {
      if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) kind[c] = kLetter;
      if (c >= '0' && c <= '9') kind[c] = kNumber;
      if ((c >= '\t' && c <= '\r') || c == ' ') kind[c] = kSpace;
    }
  }
};
constexpr AsciiKinds kAscii;

// What a number is: to the regular expressions \p{N}, to a Digits pre-tokenizer a few characters more.
enum class Numbers { kRegex, kDigits };

template <Numbers numbers>
class Reader {
 public:
  explicit Reader(std::string_view text) : end_(text.data() + text.size()), flags_(character_flags()) {}

  struct Next {
    uint8_t kind;
    uint32_t size;
  };
  // Requires: p < end.
  Next at(const char* p) const {
    const auto byte = static_cast<unsigned char>(*p);
    if (byte < 0x80) return {kAscii.kind[byte], 1};
    const Character c = valid_character(p);
    const uint8_t flags = flags_[c.code_point];
    if (numbers == Numbers::kDigits && (flags & kNumeric)) return {kNumber, c.size};
    return {static_cast<uint8_t>(flags & kKind), c.size};
  }
  uint8_t kind(const char* p) const { return p == end_ ? uint8_t{kSpace} : at(p).kind; }

  // The end of the run of `kind` that goes on at `p`.
  const char* run(const char* p, uint8_t kind) const {
    while (p < end_) {
      const Next next = at(p);
      if (next.kind != kind) break;
      p += next.size;
    }
    return p;
  }
  const char* end() const { return end_; }

 private:
  const char* end_;
  const CharacterFlags& flags_;
};

bool is_newline(char c) {
  return c == '\r' || c == '\n';
}

// The end of 's, 't, 're, 've, 'm, 'll or 'd at `p`, where an apostrophe stands; or null.
template <bool ignores_case>
const char* contraction(const char* p, const char* end) {
  const auto letter = [&](int i) {
    const char c = p + i < end ? p[i] : '\0';
    return ignores_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  };
  const char first = letter(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return p + 2;
  if ((first == 'r' || first == 'v') && letter(2) == 'e') return p + 3;
  if (first == 'l' && letter(2) == 'l') return p + 3;
  if (ignores_case && first == '\xC5' && letter(2) == '\xBF') return p + 3;  // U+017F is a long s
  return nullptr;
}

// \s+(?!\S)|\s+ at `p`, where a space stands: all of the run but its last character when something but the end follows.
template <Numbers numbers>
const char* spaces(const Reader<numbers>& read, const char* p, bool stops_at_number) {
  const char* end = read.run(p, kSpace);
  if (end == read.end() || (stops_at_number && read.kind(end) == kNumber)) return end;
  const char* last = end - valid_character_before(p, end).size;
  return last == p ? end : last;
}

// GPT-2's pattern. With digits cut out first, a number ends the text on its left and begins it on its right.
template <bool splits_digits>
class Gpt2Scanner : public PieceSplitter {
 public:
  void split(std::string_view text, size_t offset, PieceEnds* ends) const override {
    const Reader<kNumbers> read(text);
    for (const char* p = text.data(); p < read.end();) {
      p = piece_end(read, p);
      ends->push_back(offset + static_cast<size_t>(p - text.data()));
    }
  }

 private:
  static constexpr Numbers kNumbers = splits_digits ? Numbers::kDigits : Numbers::kRegex;

  static const char* piece_end(const Reader<kNumbers>& read, const char* p) {
    if (*p == '\'') {
      if (const char* end = contraction<false>(p, read.end())) return end;
    }
    auto [kind, size] = read.at(p);
    const char* after = p + size;
    if (*p == ' ') {
      const uint8_t next = read.kind(after);
      if (next != kSpace && !(splits_digits && next == kNumber)) kind = next;
    }
    if (kind == kSpace) return spaces(read, p, splits_digits);
    if (splits_digits && kind == kNumber) return after;
    return read.run(after, kind);
  }
};

// Qwen2's and Llama 3's pattern: they differ in how many digits stand together.
template <int most_digits>
class Llama3Scanner : public PieceSplitter {
 public:
  void split(std::string_view text, size_t offset, PieceEnds* ends) const override {
    const Reader<Numbers::kRegex> read(text);
    for (const char* p = text.data(); p < read.end();) {
      p = piece_end(read, p);
      ends->push_back(offset + static_cast<size_t>(p - text.data()));
    }
  }

 private:
  static const char* piece_end(const Reader<Numbers::kRegex>& read, const char* p) {
    if (*p == '\'') {
      if (const char* end = contraction<true>(p, read.end())) return end;
    }
    const auto [kind, size] = read.at(p);
    const char* after = p + size;
    if (kind == kLetter) return read.run(after, kLetter);
    if (kind == kNumber) return numbers(read, after);
    const uint8_t next = read.kind(after);
    if (next == kLetter && !is_newline(*p)) return read.run(after, kLetter);
    if (kind == kOther || (*p == ' ' && next == kOther)) {
      const char* end = read.run(after, kOther);
      while (end < read.end() && is_newline(*end)) ++end;
      return end;
    }
    return spaces_and_lines(read, p);
  }

  static const char* numbers(const Reader<Numbers::kRegex>& read, const char* p) {
    for (int i = 1; i < most_digits && p < read.end(); ++i) {
      const auto [kind, size] = read.at(p);
      if (kind != kNumber) break;
      p += size;
    }
    return p;
  }

  // \s*[\r\n]+ up to the last line's end in the run of spaces at `p`, else as in GPT-2.
  static const char* spaces_and_lines(const Reader<Numbers::kRegex>& read, const char* p) {
    for (const char* end = read.run(p, kSpace); end > p; --end)
      if (is_newline(end[-1])) return end;
    return spaces(read, p, false);
  }
};

// Every number a piece of its own.
class DigitScanner : public PieceSplitter {
 public:
  void split(std::string_view text, size_t offset, PieceEnds* ends) const override {
    const Reader<Numbers::kDigits> read(text);
    const auto cut_at = [&](const char* p) { ends->push_back(offset + static_cast<size_t>(p - text.data())); };
    const char* begin = text.data();
    for (const char* p = begin; p < read.end();) {
      const auto [kind, size] = read.at(p);
      if (kind == kNumber) {
        if (p > begin) cut_at(p);
        begin = p + size;
        cut_at(begin);
      }
      p += size;
    }
    if (begin < read.end()) cut_at(read.end());
  }
};

}  // namespace

std::unique_ptr<const PieceSplitter> scanner_of(std::string_view pattern, bool splits_digits) {
  if (pattern == kGpt2Pattern && splits_digits) return std::make_unique<Gpt2Scanner<true>>();
  if (pattern == kGpt2Pattern) return std::make_unique<Gpt2Scanner<false>>();
  if (splits_digits) return nullptr;
  if (pattern == kQwen2Pattern) return std::make_unique<Llama3Scanner<1>>();
  if (pattern == kLlama3Pattern) return std::make_unique<Llama3Scanner<3>>();
  return nullptr;
}

std::unique_ptr<const PieceSplitter> digit_scanner() {
  return std::make_unique<DigitScanner>();
}

}  // namespace dynamo::text
