// The generated facts about characters, as unicode.cc and nfc.cc read them.
// Made by make_unicode_tables.py, which says which versions of Unicode they are.  Threads: constants.
// Private to the module.
#pragma once

#include <cstdint>
#include <span>

namespace dynamo::text {

// From `first` up to the next range's `first`, characters have these flags (text/unicode.h).
struct FlagRange {
  uint32_t first;
  uint8_t flags;
};

// Characters of one canonical combining class that is not 0; ends are included.
struct CombiningRange {
  uint32_t first;
  uint32_t last;
  uint8_t combining_class;
};

// One step of canonical decomposition; `second` is 0 for a single character. Hangul syllables are left to arithmetic.
struct Decomposition {
  uint32_t composed;
  uint32_t first;
  uint32_t second;
  bool composes;  // whether NFC puts `first` and `second` together again
};

std::span<const FlagRange> flag_ranges();
std::span<const CombiningRange> combining_ranges();
std::span<const Decomposition> decompositions();

}  // namespace dynamo::text
