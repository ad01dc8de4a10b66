// The KV blocks of one engine: who holds them, which can be reused, which goes first when room is needed.
//
// A block is in one of three states: held (one or more sequences refer to it), cached (nobody does, but its content is known and may be
// matched), or empty. Content becomes known by store(), once its KV is computed, whether the block is held or not. Cached blocks are
// given up least recently used first; since sequences release their last block first, a block goes before the one it follows.
// Idea: Kwon et al. 2023, 4.3; the eviction order is RadixAttention's (Zheng et al. 2024).  Threads: one, the engine's.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "kv/block_hash.h"
#include "kv/kv_event.h"

namespace dynamo::engine {

class BlockPool {
 public:
  // Requires: blocks > 0, block_tokens > 0. `events` (may be null) outlives the pool.
  BlockPool(uint32_t blocks, uint32_t block_tokens, kv::KvEventSink* events);

  // The longest run of known blocks that hold the beginning of `tokens`, at most chain.size() of them; the caller holds each.
  // `chain` are the hashes of the tokens' blocks. The tokens themselves are compared too.
  std::vector<BlockId> match(std::span<const TokenId> tokens, std::span<const kv::BlockHash> chain);

  // A block of unknown content, held by the caller; cached ones are given up for it. None when every block is held.
  std::optional<BlockId> allocate();

  // Holds a block that is held already once more.
  void hold(BlockId block);

  // Says what a held block now contains: these tokens, after the block `parent` (null for a first block).
  // Returns: the block to go on with. If another block is known to hold the same, it is that one, the caller's hold has moved to it, and
  // the block given is released; so content is never kept twice. After a block whose own content is not known it stays
  // unknown, so that what is known always follows something known. Requires: held by the caller; content unknown.
  BlockId store(BlockId block, kv::BlockHash hash, const kv::BlockHash* parent, std::span<const TokenId> tokens);

  // Gives up one hold. Requires: held by the caller. Release a sequence's blocks last first.
  void release(BlockId block);

  // Forgets all content that nobody holds, and that held blocks can be matched.
  void clear();

  uint32_t total() const { return static_cast<uint32_t>(blocks_.size()); }
  uint32_t held() const { return total() - available(); }
  uint32_t cached() const { return static_cast<uint32_t>(cached_.size()); }
  uint32_t available() const {
    return static_cast<uint32_t>(empty_.size() + cached_.size());
  }  // allocate() can give so many

  // CHECKs that lists, counts and index agree. Cost: linear in the pool; for tests.
  void check_invariants() const;

 private:
  struct Block {
    uint32_t holders = 0;
    bool is_known = false;  // in index_
    kv::BlockHash hash;
    std::optional<kv::BlockHash> parent;
    std::vector<TokenId> tokens;
    std::list<BlockId>::iterator place;  // in cached_, when cached
  };

  void forget(BlockId block);

  uint32_t block_tokens_;
  kv::KvEventSink* events_;
  std::vector<Block> blocks_;
  std::vector<BlockId> empty_;
  std::list<BlockId> cached_;  // least recently used first
  std::unordered_map<kv::BlockHash, BlockId> index_;
};

}  // namespace dynamo::engine
