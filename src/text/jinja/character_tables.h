// The generated facts about characters, as python_text.cc reads them. Made by make_character_tables.py.  Threads: constants.
// Private to the module.
#pragma once

#include <cstdint>
#include <span>

namespace dynamo::text::jinja {

// From `first` up to the next range's `first`, characters have these flags (CharacterClass of python_text.h).
struct FlagRange {
  uint32_t first;
  uint16_t flags;
};

// first, first + step, ... last: what is added for each mapping.
struct CaseRun {
  uint32_t first;
  uint32_t last;
  uint32_t step;
  int32_t upper;
  int32_t lower;
  int32_t title;
};

// A character that has a mapping to several, in UTF-8.
struct SpecialCase {
  uint32_t point;
  const char* upper;
  const char* lower;
  const char* title;
};

std::span<const FlagRange> flag_ranges();      // sorted by `first`, from 0 on
std::span<const CaseRun> case_runs();          // sorted by `first`; runs of step 2 may interleave
std::span<const SpecialCase> special_cases();  // sorted by `point`

}  // namespace dynamo::text::jinja
