// What kind of character a code point is, for cutting text into pieces.
//
// The classes are those of the `tokenizers` package's engines, not of the newest Unicode: text is cut where it cuts it.
// Threads: constants, made on first use.  Private to the module.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace dynamo::text {

enum CharacterFlag : uint8_t {
  kLetter = 1,     // \p{L}
  kNumber = 2,     // \p{N}
  kSpace = 4,      // \s
  kNumeric = 8,    // cut out by a Digits pre-tokenizer: \p{N} of a newer Unicode
  kWord = 16,      // \w: what may not stand beside a token that wants to be a single word
  kNfcActive = 32  // NFC may change it, or join it to what stands before it
};

// Flags of every code point, in blocks that are kept once.
class CharacterFlags {
 public:
  CharacterFlags();
  // Requires: code_point <= 0x10FFFF.
  uint8_t operator[](char32_t code_point) const {
    return blocks_[(static_cast<size_t>(block_of_[code_point >> kBlockBits]) << kBlockBits) +
                   (code_point & (kBlockSize - 1))];
  }

 private:
  static constexpr unsigned kBlockBits = 7;
  static constexpr size_t kBlockSize = size_t{1} << kBlockBits;
  static constexpr size_t kCodePoints = 0x110000;

  std::array<uint16_t, kCodePoints / kBlockSize> block_of_;
  std::vector<uint8_t> blocks_;
};

const CharacterFlags& character_flags();

}  // namespace dynamo::text
