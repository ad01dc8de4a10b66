// Makes blocks collide: while it lives, all hashes of this process have as few bits as it says, as if somebody chose the tokens so.
// For tests of whatever takes hashes from outside or keeps things by them.
// Requires: no other thread hashes while one is made or destroyed; they do not nest.
#pragma once

#include "base/check.h"
#include "kv/block_hash.h"

namespace dynamo::kv {

class NarrowHashes {
 public:
  explicit NarrowHashes(int bits) {
    CHECK(bits > 0 && bits < 64 && hash_mask == ~uint64_t{0});
    hash_mask = (uint64_t{1} << bits) - 1;
  }
  ~NarrowHashes() { hash_mask = ~uint64_t{0}; }
  NarrowHashes(const NarrowHashes&) = delete;
  NarrowHashes& operator=(const NarrowHashes&) = delete;
};

}  // namespace dynamo::kv
