// What one cache would have held that all workers share and that never forgets: the most that routing can save.
// Threads: one.  Private to the module.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_set>

#include "kv/block_hash.h"

namespace dynamo::load {

class SharedCache {
 public:
  explicit SharedCache(uint32_t block_tokens) : block_tokens_(block_tokens) {}

  // Takes a prompt as computed. Returns: how many of its tokens were there before; like an engine it computes at least one.
  uint64_t take(std::span<const TokenId> prompt);

 private:
  uint32_t block_tokens_;
  std::unordered_set<kv::BlockHash> blocks_;
};

}  // namespace dynamo::load
