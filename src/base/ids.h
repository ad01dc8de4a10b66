// The identifiers that cross modules.
// A token id is a plain integer because spans of tokens are hashed and sent as they are; ids that index something of
// ours are types of their own, so that a block cannot be passed where a sequence is meant.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace dynamo {

using TokenId = uint32_t;

// Index of a KV block in one worker's pool.
struct BlockId {
  uint32_t value = 0;
  auto operator<=>(const BlockId&) const = default;
};

// A sequence in one engine; never used twice in the life of that engine.
struct SequenceId {
  uint64_t value = 0;
  auto operator<=>(const SequenceId&) const = default;
};

}  // namespace dynamo

template <>
struct std::hash<dynamo::BlockId> {
  size_t operator()(dynamo::BlockId id) const noexcept { return std::hash<uint32_t>()(id.value); }
};
template <>
struct std::hash<dynamo::SequenceId> {
  size_t operator()(dynamo::SequenceId id) const noexcept { return std::hash<uint64_t>()(id.value); }
};
