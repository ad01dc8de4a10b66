// The directory of a tier's KV blocks, of one engine: who holds them, which can be reused, which goes first when room
// is needed.
//
// It knows blocks by number and never touches their bytes. The device's are in memory of the backend, in the order of
// kv/kv_layout.h; how those of a lower tier come and go is engine/handoff.h.
//
// A block is in one of three states: held (one or more sequences refer to it), cached (nobody does, but its content is known and may be
// matched), or empty. Content becomes known by store(), once its KV is computed, whether the block is held or not. Cached blocks are
// given up least recently used first; since sequences release their last block first, a block goes before the one it follows.
//
// A block's KV depends on all tokens before it, and hashes do not tell prefixes apart: anybody can make blocks whose
// hashes are equal. So a known block remembers which block of this pool it was computed after, and that one stays known
// as long as it is. Two blocks are the same if they follow the same block, or both none, and have the same words
// (kv/prompt.h: tokens, salt, what stands in the place of tokens); the hash only finds them. Of several contents with
// one hash the first is kept, and the others are not cached while it is: who makes blocks that collide can keep others'
// out of the cache, but cannot have his read in their place.
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
  // Requires: blocks > 0, block_tokens > 0. `events` (may be null) outlives the pool, and is told of blocks in `tier`.
  BlockPool(uint32_t blocks, uint32_t block_tokens, kv::KvEventSink* events, kv::Tier tier = kv::Tier::kDevice);

  // The longest run of known blocks that hold the prompt's beginning, at most chain.size() of them; the caller holds
  // each. `chain` are the hashes of the prompt's blocks. Each block was computed after exactly what is before it in the
  // prompt.
  std::vector<BlockId> match(const kv::PromptView& prompt, std::span<const kv::BlockHash> chain);

  // Whether a content is known by this hash; until it is given up, no other will be.
  bool is_taken(kv::BlockHash hash) const { return index_.contains(hash); }

  // A block of unknown content, held by the caller; cached ones are given up for it. None when every block is held.
  std::optional<BlockId> allocate();

  // Holds a block that is held already once more.
  void hold(BlockId block);

  // What a block holds, and after what.
  struct Content {
    std::optional<BlockId> parent;    // the block that its KV was computed after; none: it is a prompt's first
    std::span<const uint32_t> words;  // kv::block_words()
  };
  // Says what a held block now contains.
  // Returns: the block to go on with. If another block is known to be the same, it is that one, the caller's hold has moved to it, and
  // the block given is released; so content is never kept twice. After a block that is not known it stays unknown, so that
  // what is known always follows something known; so it does if another content is known by this hash.
  // Requires: held by the caller, as is its parent; content unknown.
  BlockId store(BlockId block, kv::BlockHash hash, const Content& content);

  // Forgets what these blocks contain and all that is known to follow it, held or not: nobody matches any of it again.
  // Requires: held by the caller.  Cost: constant for each block forgotten.
  void distrust(std::span<const BlockId> blocks);

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
    std::optional<BlockId> parent;
    std::vector<BlockId> children;  // known blocks that follow it
    size_t child_place = 0;         // among the parent's
    std::vector<uint32_t> words;
    std::list<BlockId>::iterator place;  // in cached_, when cached

    bool holds(const Content& content) const;
  };

  void tell(kv::KvEvent::What what, std::vector<kv::BlockHash> blocks);
  void forget(BlockId block);
  void forget_leaf(BlockId block);

  uint32_t block_tokens_;
  kv::KvEventSink* events_;
  const kv::Tier tier_;
  std::vector<Block> blocks_;
  std::vector<BlockId> empty_;
  std::list<BlockId> cached_;  // least recently used first
  std::unordered_map<kv::BlockHash, BlockId> index_;
};

}  // namespace dynamo::engine
