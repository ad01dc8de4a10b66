// The identity of a KV block: what two workers must agree on to share it.
//   TokensHash  hash of one block's tokens alone     (what the block holds)
//   BlockHash   hash of the whole prefix up to here  (what a cached block is)
// Spec: docs/reference/block_hash.md (XXH3-64 with seed 1337, little-endian; vectors in the test).  Idea: Kwon et al.
// 2023, 4.3. Hash equality is not token equality, and anybody can make tokens whose hashes are equal: whoever keeps
// something by a hash either compares what it stands for (engine/block_pool.h) or takes no harm from a mix-up.
// Threads: values and pure functions.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/ids.h"

namespace dynamo::kv {

struct TokensHash {
  uint64_t bits = 0;
  auto operator<=>(const TokensHash&) const = default;
};
struct BlockHash {
  uint64_t bits = 0;
  auto operator<=>(const BlockHash&) const = default;
};

// Hash of the tokens of one block.
TokensHash hash_tokens(std::span<const TokenId> block);

// The first block of a prompt. `salt` keeps caches apart (LoRA, tenant); 0 is no salt, and then the BlockHash is the
// TokensHash.
BlockHash first_block(TokensHash tokens, uint64_t salt);
// The block that follows `parent`.
BlockHash next_block(BlockHash parent, TokensHash tokens);

// Hashes every full block of `tokens`; a partial last block is left out.
// Returns: floor(tokens.size() / block_tokens) hashes, first block first.  Requires: block_tokens > 0.
std::vector<BlockHash> hash_chain(std::span<const TokenId> tokens, uint32_t block_tokens, uint64_t salt);

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
