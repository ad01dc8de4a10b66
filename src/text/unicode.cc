#include "text/unicode.h"

#include <map>

#include "text/unicode_tables.h"

namespace dynamo::text {

CharacterFlags::CharacterFlags() {
  const auto ranges = flag_ranges();
  std::map<std::array<uint8_t, kBlockSize>, uint16_t> known;
  size_t range = 0;
  for (size_t block = 0; block < block_of_.size(); ++block) {
    std::array<uint8_t, kBlockSize> flags;
    for (size_t i = 0; i < kBlockSize; ++i) {
      while (range + 1 < ranges.size() && ranges[range + 1].first <= block * kBlockSize + i) ++range;
      flags[i] = ranges[range].flags;
    }
    const auto [entry, is_new] = known.emplace(flags, static_cast<uint16_t>(known.size()));
    if (is_new) blocks_.insert(blocks_.end(), flags.begin(), flags.end());
    block_of_[block] = entry->second;
  }
}

const CharacterFlags& character_flags() {
  static const CharacterFlags flags;
  return flags;
}

}  // namespace dynamo::text
