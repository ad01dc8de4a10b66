// The identity of a KV block: what two workers must agree on to share it.
//   BlockHash   hash of the whole prefix up to the block's end
// Spec: docs/reference/block_hash.md (XXH3-64 with seed 1337, little-endian; vectors in the test).  Idea: Kwon et al.
// 2023, 4.3. Hash equality is not content equality, and anybody can make tokens whose hashes are equal: whoever keeps
// something by a hash either compares what it stands for (engine/block_pool.h) or takes no harm from a mix-up.
// Threads: values and pure functions.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <vector>

#include "kv/prompt.h"

namespace dynamo::kv {

struct BlockHash {
  uint64_t bits = 0;
  auto operator<=>(const BlockHash&) const = default;
};

inline constexpr uint64_t kHashSeed = 1337;

// Hashes every full block of the prompt; a partial last block is left out.
// Returns: floor(tokens / block_tokens) hashes, first block first.  Requires: block_tokens > 0.
std::vector<BlockHash> hash_chain(const PromptView& prompt, uint32_t block_tokens);
// Adds what `chain` lacks of that: the hashes of blocks that have become full since.
// Requires: `chain` is of this prompt's first blocks.
void extend_chain(const PromptView& prompt, uint32_t block_tokens, std::vector<BlockHash>* chain);

// The bits that hashes have: all. Only tests have fewer (kv/testing/narrow_hashes.h).
extern uint64_t hash_mask;

// Drawn when the process starts; what std::hash is keyed with.
struct TableSecret {
  uint64_t offset;
  uint64_t factor;  // odd
};
extern const TableSecret table_secret;

}  // namespace dynamo::kv

// Positions in this process's hash tables. Keyed, so that nobody can choose blocks that all fall on one place.
template <>
struct std::hash<dynamo::kv::BlockHash> {
  size_t operator()(dynamo::kv::BlockHash hash) const noexcept {
    const dynamo::kv::TableSecret& secret = dynamo::kv::table_secret;
    const auto product = static_cast<unsigned __int128>(hash.bits ^ secret.offset) * secret.factor;
    return static_cast<size_t>(product >> 64) ^ static_cast<size_t>(product);
  }
};
