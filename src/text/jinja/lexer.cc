#include "text/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

namespace dynamo::text::jinja {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

void append_utf8(uint32_t point, std::string* out) {
  if (point < 0x80) {
    *out += static_cast<char>(point);
  } else if (point < 0x800) {
    *out += {static_cast<char>(0xC0 | (point >> 6)), static_cast<char>(0x80 | (point & 63))};
  } else if (point < 0x10000) {
    *out += {static_cast<char>(0xE0 | (point >> 12)), static_cast<char>(0x80 | ((point >> 6) & 63)),
             static_cast<char>(0x80 | (point & 63))};
  } else {
    *out += {static_cast<char>(0xF0 | (point >> 18)), static_cast<char>(0x80 | ((point >> 12) & 63)),
             static_cast<char>(0x80 | ((point >> 6) & 63)), static_cast<char>(0x80 | (point & 63))};
  }
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  Result<std::vector<Token>> run() {
    // Python's own reading of a template: every line end is one newline, and the last one is dropped.
    while (at_ < source_.size()) {
      TRY_STATUS(read_text());
      if (at_ >= source_.size()) break;
      const char kind = source_[at_ + 1];
      if (kind == '#') {
        TRY_STATUS(skip_comment());
      } else if (kind == '%' && is_raw()) {
        TRY_STATUS(read_raw());
      } else {
        TRY_STATUS(read_tag(kind == '%'));
      }
    }
    add(Token::Kind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  Status wrong(std::string text) const { return invalid(fmt::format("line {}: {}", line_, text)); }
  void add(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void advance(size_t count) {
    line_ += static_cast<int>(std::count(source_.begin() + at_, source_.begin() + at_ + count, '\n'));
    at_ += count;
  }

  size_t find_tag(size_t from) const {
    for (size_t i = from; i + 1 < source_.size(); ++i) {
      if (source_[i] == '{' && (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#')) return i;
    }
    return source_.size();
  }

  // Text up to the next tag, less what the tags around it strip.
  Status read_text() {
    const size_t tag = find_tag(at_);
    std::string_view text = source_.substr(at_, tag - at_);
    if (strips_before_) {
      while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    } else if (trims_newline_ && text.starts_with('\n')) {
      text.remove_prefix(1);
    }
    if (tag < source_.size()) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      if (sign == '-') {
        while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
      } else if (source_[tag + 1] != '{' && sign != '+') {
        text = strip_indent(text, tag);
      }
    }
    if (!text.empty()) add(Token::Kind::kText, std::string(text));
    strips_before_ = trims_newline_ = false;
    advance(tag - at_);
    return {};
  }

  // lstrip_blocks: blanks between the line's start and a block tag.
  std::string_view strip_indent(std::string_view text, size_t tag) const {
    size_t blanks = 0;
    while (blanks < text.size() && is_space(text[text.size() - 1 - blanks]) && text[text.size() - 1 - blanks] != '\n')
      ++blanks;
    const size_t start = tag - blanks;
    const bool starts_line = start == 0 || source_[start - 1] == '\n';
    if (starts_line || (blanks == text.size() && start == 0)) text.remove_suffix(blanks);
    return text;
  }

  Status skip_comment() {
    const size_t end = source_.find("#}", at_ + 2);
    if (end == std::string_view::npos) return wrong("a comment has no end");
    strips_before_ = end > at_ + 2 && source_[end - 1] == '-';
    trims_newline_ = !(end > at_ + 2 && source_[end - 1] == '+');
    advance(end + 2 - at_);
    return {};
  }

  // "{% raw %}", with any signs.
  size_t word_tag(size_t from, std::string_view word) const {
    size_t i = from + 2;
    if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
    while (i < source_.size() && is_space(source_[i])) ++i;
    if (source_.compare(i, word.size(), word) != 0) return 0;
    i += word.size();
    while (i < source_.size() && is_space(source_[i])) ++i;
    if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
    return source_.compare(i, 2, "%}") == 0 ? i + 2 : 0;
  }
  bool is_raw() const { return word_tag(at_, "raw") != 0; }

  Status read_raw() {
    const size_t begin = word_tag(at_, "raw");
    const bool strips_first = source_[begin - 3] == '-';
    for (size_t i = begin; i + 1 < source_.size(); ++i) {
      const size_t end = source_[i] == '{' && source_[i + 1] == '%' ? word_tag(i, "endraw") : 0;
      if (end == 0) continue;
      std::string_view text = source_.substr(begin, i - begin);
      if (strips_first) {
        while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
      } else if (text.starts_with('\n')) {
        text.remove_prefix(1);
      }
      if (source_[i + 2] == '-') {
        while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
      } else if (source_[i + 2] != '+') {
        text = strip_indent(text, i);
      }
      if (!text.empty()) add(Token::Kind::kText, std::string(text));
      strips_before_ = source_[end - 3] == '-';
      trims_newline_ = source_[end - 3] != '+';
      advance(end - at_);
      return {};
    }
    return wrong("a raw block has no endraw");
  }

  Status read_tag(bool is_block) {
    add(is_block ? Token::Kind::kBlockBegin : Token::Kind::kOutputBegin, {});
    advance(2);
    if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+')) advance(1);
    const std::string_view end = is_block ? "%}" : "}}";
    int nesting = 0;  // of brackets: "}}" may close dicts
    for (;;) {
      while (at_ < source_.size() && is_space(source_[at_])) advance(1);
      if (at_ >= source_.size()) return wrong("a tag has no end");
      const bool has_sign = source_[at_] == '-' || source_[at_] == '+';
      if (nesting == 0 && source_.compare(at_ + (has_sign ? 1 : 0), 2, end) == 0) {
        strips_before_ = source_[at_] == '-';
        trims_newline_ = is_block && source_[at_] != '+';
        advance(has_sign ? 3 : 2);
        add(is_block ? Token::Kind::kBlockEnd : Token::Kind::kOutputEnd, {});
        return {};
      }
      const char c = source_[at_];
      if (c == '(' || c == '[' || c == '{') ++nesting;
      if ((c == ')' || c == ']' || c == '}') && nesting-- == 0) return wrong(fmt::format("'{}' closes nothing", c));
      TRY_STATUS(read_token());
    }
  }

  Status read_token() {
    const char c = source_[at_];
    if (is_name_start(c)) {
      size_t end = at_;
      while (end < source_.size() && (is_name_start(source_[end]) || is_digit(source_[end]))) ++end;
      add(Token::Kind::kName, std::string(source_.substr(at_, end - at_)));
      advance(end - at_);
      return {};
    }
    if (is_digit(c)) return read_number();
    if (c == '\'' || c == '"') return read_string();
    static constexpr std::array<std::string_view, 6> kTwo = {"==", "!=", "<=", ">=", "//", "**"};
    for (const std::string_view two : kTwo) {
      if (source_.compare(at_, 2, two) == 0) {
        add(Token::Kind::kOperator, std::string(two));
        advance(2);
        return {};
      }
    }
    if (std::string_view("+-*/%~<>=|.,:()[]{};").find(c) == std::string_view::npos)
      return wrong(fmt::format("unexpected character '{}'", c));
    add(Token::Kind::kOperator, std::string(1, c));
    advance(1);
    return {};
  }

  Status read_number() {
    size_t end = at_;
    const auto digits = [&] {
      while (end < source_.size() && (is_digit(source_[end]) || source_[end] == '_')) ++end;
    };
    digits();
    bool is_float = false;
    if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      is_float = true;
      ++end;
      digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
      if (exponent < source_.size() && is_digit(source_[exponent])) {
        is_float = true;
        end = exponent;
        digits();
      }
    }
    std::string text(source_.substr(at_, end - at_));
    std::erase(text, '_');
    add(is_float ? Token::Kind::kFloat : Token::Kind::kInteger, std::move(text));
    advance(end - at_);
    return {};
  }

  // Appends what a backslash and the beginning of `rest` stand for. Returns: how much of `rest` that is.
  Result<size_t> read_escape(std::string_view rest, std::string* text) const {
    static const std::map<char, std::string_view> kPlain = {
        {'n', "\n"}, {'t', "\t"}, {'r', "\r"},  {'b', "\b"}, {'f', "\f"}, {'v', "\v"},
        {'a', "\a"}, {'\n', ""},  {'\\', "\\"}, {'\'', "'"}, {'"', "\""}, {'0', std::string_view("\0", 1)}};
    if (const auto found = kPlain.find(rest[0]); found != kPlain.end()) {
      *text += found->second;
      return 1;
    }
    const size_t count = rest[0] == 'x' ? 2 : rest[0] == 'u' ? 4 : rest[0] == 'U' ? 8 : 0;
    if (count == 0) {
      *text += {'\\', rest[0]};
      return 1;
    }
    const std::string digits(rest.substr(1, count));
    const bool is_hex =
        digits.size() == count && digits.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
    const auto point = is_hex ? static_cast<uint32_t>(std::stoul(digits, nullptr, 16)) : UINT32_MAX;
    if (point > 0x10FFFF)
      return wrong(fmt::format("a \\{} escape needs {} hexadecimal digits{}", rest[0],
                               count == 2   ? "two"
                               : count == 4 ? "four"
                                            : "eight",
                               count == 8 ? " of a character" : ""));
    append_utf8(point, text);
    return count + 1;
  }

  Status read_string() {
    const char quote = source_[at_];
    std::string text;
    size_t i = at_ + 1;
    for (; i < source_.size() && source_[i] != quote; ++i) {
      if (source_[i] != '\\') {
        text += source_[i];
        continue;
      }
      if (++i >= source_.size()) break;
      TRY(const size_t taken, read_escape(source_.substr(i), &text));
      i += taken - 1;
    }
    if (i >= source_.size()) return wrong("a string has no end");
    add(Token::Kind::kString, std::move(text));
    advance(i + 1 - at_);
    return {};
  }

  std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  bool strips_before_ = false;  // the tag before ended with '-'
  bool trims_newline_ = false;  // the tag before was a block: one newline after it goes
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
  std::string lines;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      lines += source[i];
    } else if (i + 1 >= source.size() || source[i + 1] != '\n') {
      lines += '\n';
    }
  }
  if (lines.ends_with('\n')) lines.pop_back();
  return Lexer(lines).run();
}

}  // namespace dynamo::text::jinja
