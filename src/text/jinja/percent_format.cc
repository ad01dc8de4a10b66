// printf-style formatting: %s %r %d %i %f %x %%, with flags, width and precision.
#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/builtins.h"

namespace dynamo::text::jinja {

namespace {

// One conversion: "%-5.2f".
struct Conversion {
  std::string flags;
  size_t width = 0;
  int precision = -1;  // none
  char kind = 0;       // 0: the text ended too early
  bool has(char flag) const { return flags.find(flag) != std::string::npos; }
  bool is_text() const { return kind == 's' || kind == 'r'; }
};

// Reads the conversion after the '%' at `text[*at]`, and leaves `*at` at its last character.
Conversion read_conversion(std::string_view text, size_t* at) {
  const auto is_digit = [&] { return *at < text.size() && text[*at] >= '0' && text[*at] <= '9'; };
  Conversion found;
  for (++*at; *at < text.size() && std::string_view("-+ 0#").find(text[*at]) != std::string_view::npos; ++*at)
    found.flags += text[*at];
  for (; is_digit() && found.width < 100000; ++*at) found.width = found.width * 10 + (text[*at] - '0');
  if (*at < text.size() && text[*at] == '.') {
    found.precision = 0;
    for (++*at; is_digit() && found.precision < 1000; ++*at) found.precision = found.precision * 10 + (text[*at] - '0');
  }
  if (*at < text.size()) found.kind = text[*at];
  return found;
}

Result<std::string> convert(Interpreter* self, const Conversion& how, const Value& value) {
  if (how.is_text()) {
    const std::string whole = how.kind == 's' ? value.str() : value.repr();
    if (how.precision < 0) return whole;
    const auto all = characters(whole);
    std::string cut;
    for (size_t i = 0; i < std::min<size_t>(all.size(), how.precision); ++i) cut += all[i];
    return cut;
  }
  if (!value.is_number())
    return self->fail(fmt::format("%{} format: a number is required, not {}", how.kind, value.type_name()));
  if (how.kind == 'd' || how.kind == 'i') return std::to_string(value.as_int());
  if (how.kind == 'f') return fmt::format("{:.{}f}", value.as_float(), how.precision < 0 ? 6 : how.precision);
  if (how.kind == 'x') return fmt::format("{:x}", value.as_int());
  return self->fail(fmt::format("unsupported format character '{}'", how.kind));
}

void pad(const Conversion& how, size_t missing, std::string* piece) {
  const size_t sign = piece->starts_with('-') || piece->starts_with('+') ? 1 : 0;
  if (how.has('-')) {
    piece->append(missing, ' ');
  } else if (how.has('0') && !how.is_text()) {
    piece->insert(sign, missing, '0');
  } else {
    piece->insert(0, missing, ' ');
  }
}

}  // namespace

Result<std::string> format_percent(Interpreter* self, const std::string& text, const Arguments& arguments) {
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 1 < text.size() && text[i + 1] == '%') {
      out += text[i++];
      continue;
    }
    const Conversion how = read_conversion(text, &i);
    if (how.kind == 0) return self->fail("incomplete format");
    if (next >= arguments.positional.size()) return self->fail("not enough arguments for format string");
    TRY(std::string piece, convert(self, how, arguments.positional[next++]));
    if (how.has('+') && how.kind != 's' && !piece.starts_with('-')) piece.insert(0, 1, '+');
    if (const size_t size = characters(piece).size(); size < how.width) {
      TRY_STATUS(self->charge(how.width));
      pad(how, how.width - size, &piece);
    }
    out += piece;
  }
  if (next < arguments.positional.size()) return self->fail("not all arguments converted during string formatting");
  return out;
}

}  // namespace dynamo::text::jinja
