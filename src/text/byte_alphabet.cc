#include "text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace dynamo::text {
namespace {

// Bytes that are printable in Latin-1 stand for themselves, the others for U+0100 and on in their order.
struct Alphabet {
  static constexpr uint16_t kNone = 0xFFFF;
  std::array<std::string, 256> characters;
  std::array<uint16_t, 256 + 68> bytes;

  Alphabet() {
    bytes.fill(kNone);
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool is_printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const uint32_t code_point = is_printable ? byte : next++;
      append_character(code_point, &characters[byte]);
      bytes[code_point] = static_cast<uint16_t>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet alphabet;
  return alphabet;
}

}  // namespace

std::string_view alphabet_character(unsigned char byte) {
  return alphabet().characters[byte];
}

std::string to_alphabet(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += alphabet_character(static_cast<unsigned char>(c));
  return text;
}

std::optional<std::string> from_alphabet(std::string_view text) {
  if (valid_utf8_prefix(text) != text.size()) return std::nullopt;
  const Alphabet& known = alphabet();
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Character c = valid_character(text.data() + at);
    if (c.code_point >= known.bytes.size() || known.bytes[c.code_point] == Alphabet::kNone) return std::nullopt;
    bytes.push_back(static_cast<char>(known.bytes[c.code_point]));
    at += c.size;
  }
  return bytes;
}

}  // namespace dynamo::text
