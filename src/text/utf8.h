// Reading UTF-8 that may be wrong, and writing it.
// Broken bytes become U+FFFD as in Unicode 16, section 3.9: one for each maximal subpart, which is what Python's
// bytes.decode(errors="replace") and Rust's from_utf8_lossy do.  Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dynamo::text {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

enum class Utf8Kind : uint8_t {
  kCharacter,  // a whole character
  kBroken,     // a maximal subpart that no further byte can mend
  kUnfinished  // the text ends inside a character
};

// What stands at the start of a text.
struct Utf8Step {
  Utf8Kind kind;
  uint32_t size;  // bytes, >= 1
};

// Requires: `text` is not empty.
Utf8Step read_utf8(std::string_view text);

// Returns: the length of the longest prefix that is whole, valid characters.
size_t valid_utf8_prefix(std::string_view text);

// Appends `bytes` to `out`, what is broken as U+FFFD. Returns: how many bytes at the end are an unfinished character
// (0 to 3); they are not appended.
size_t append_utf8(std::string_view bytes, std::string* out);

// Appends one character. Requires: code_point <= 0x10FFFF and no surrogate.
void append_character(char32_t code_point, std::string* out);

struct Character {
  char32_t code_point;
  uint32_t size;
};

// The character at `p`. Requires: a whole, valid character stands there.
inline Character valid_character(const char* p) {
  const auto byte = [p](int i) { return static_cast<char32_t>(static_cast<unsigned char>(p[i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

// The character that ends before `end`. Requires: one does, and it begins at or after `begin`.
inline Character valid_character_before(const char* begin, const char* end) {
  const char* p = end - 1;
  while (p > begin && (static_cast<unsigned char>(*p) & 0xC0) == 0x80) --p;
  return valid_character(p);
}

}  // namespace dynamo::text
