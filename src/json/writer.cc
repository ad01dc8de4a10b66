#include "json/writer.h"

#include <array>
#include <charconv>

namespace dynamo::json {
namespace {

// Per byte: 0 is copied, 'u' becomes \u00XX, anything else is the letter after the backslash.
constexpr std::array<char, 256> kEscapes = [] {
  std::array<char, 256> escapes{};
  for (int c = 0; c < 0x20; ++c) escapes[c] = 'u';
  escapes['\b'] = 'b';
  escapes['\t'] = 't';
  escapes['\n'] = 'n';
  escapes['\f'] = 'f';
  escapes['\r'] = 'r';
  escapes['"'] = '"';
  escapes['\\'] = '\\';
  return escapes;
}();

template <class T>
void append_chars(std::string* out, T value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out->append(digits, end);
}

}  // namespace

void append_escaped(std::string* out, std::string_view text) {
  size_t copied = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const char escape = kEscapes[byte];
    if (escape == 0) continue;
    out->append(text, copied, i - copied);
    copied = i + 1;
    out->push_back('\\');
    out->push_back(escape);
    if (escape != 'u') continue;
    static constexpr char kHex[] = "0123456789abcdef";
    *out += "00";
    out->push_back(kHex[byte >> 4]);
    out->push_back(kHex[byte & 15]);
  }
  out->append(text, copied);
}

void append_string(std::string* out, std::string_view text) {
  out->push_back('"');
  append_escaped(out, text);
  out->push_back('"');
}

void append_number(std::string* out, uint64_t value) {
  append_chars(out, value);
}

void append_float(std::string* out, float value) {
  append_chars(out, value);
}

void append_float(std::string* out, double value) {
  append_chars(out, value);
}

}  // namespace dynamo::json
