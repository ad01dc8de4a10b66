// How large a worker's KV pool is, and how long a sequence may get in it.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "base/status.h"

namespace dynamo::worker {

struct PoolWishes {
  uint64_t bytes = 0;           // 0: what suits the device
  uint32_t context_length = 0;  // prompt and answer together, in tokens; 0: the model's
  uint32_t block_tokens = 16;   // > 0
};

struct PoolSize {
  uint32_t blocks = 0;
  uint32_t context_length = 0;  // as far as the pool reaches
};

// What the wishes come to for a model of `model_context` tokens of which a block takes `block_bytes`. `free_bytes` is
// what the device has left: a pool that may choose takes nine tenths of it. None (a host): 256 MiB, or one full
// context of at most 8,192 tokens if that is more.
// Errors: kInvalid (a wish, by its field in WorkerOptions: no room for two blocks, a context beyond the model's), kExhausted (more than
// is free, with both numbers).
Result<PoolSize> pool_size(const PoolWishes& wishes, uint32_t model_context, uint64_t block_bytes,
                           std::optional<uint64_t> free_bytes);

}  // namespace dynamo::worker
