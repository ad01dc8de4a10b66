#include "worker/pool_size.h"

#include <algorithm>

#include <fmt/format.h>

namespace dynamo::worker {
namespace {

constexpr uint64_t kMiB = 1ULL << 20;
constexpr uint64_t kHostBytes = 256 * kMiB;
constexpr uint32_t kHostContext = 8192;
constexpr uint32_t kLeastBlocks = 2;

// Blocks that the device would rather have.
uint64_t suitable_blocks(uint32_t context, uint32_t block_tokens, uint64_t block_bytes,
                         std::optional<uint64_t> free_bytes) {
  if (free_bytes) return *free_bytes / 10 * 9 / block_bytes;  // the rest is for what a step computes with
  const uint32_t of_context = (std::min(context, kHostContext) + block_tokens - 1) / block_tokens;
  return std::max<uint64_t>(kHostBytes / block_bytes, of_context + 1);
}

}  // namespace

Result<PoolSize> pool_size(const PoolWishes& wishes, uint32_t model_context, uint64_t block_bytes,
                           std::optional<uint64_t> free_bytes) {
  if (wishes.context_length > model_context) {
    return invalid(fmt::format("context_length {}: the model was made for at most {} tokens", wishes.context_length,
                               model_context));
  }
  const uint32_t context = wishes.context_length > 0 ? wishes.context_length : model_context;
  uint64_t blocks = wishes.bytes / block_bytes;
  if (wishes.bytes == 0) blocks = suitable_blocks(context, wishes.block_tokens, block_bytes, free_bytes);
  if (free_bytes && (blocks < kLeastBlocks || wishes.bytes > *free_bytes)) {
    return exhausted(fmt::format("the device has {} MiB left for the KV cache; {} MiB are wanted", *free_bytes / kMiB,
                                 std::max(wishes.bytes, kLeastBlocks * block_bytes) / kMiB));
  }
  if (blocks < kLeastBlocks || blocks > UINT32_MAX) {
    return invalid(fmt::format(
        "kv_cache_bytes {} ({} MiB): a KV block of this model takes {} bytes; room for at least {} blocks is needed",
        wishes.bytes, wishes.bytes / kMiB, block_bytes, kLeastBlocks));
  }
  return PoolSize{
      .blocks = static_cast<uint32_t>(blocks),
      .context_length = static_cast<uint32_t>(std::min<uint64_t>(context, blocks * wishes.block_tokens)),
  };
}

}  // namespace dynamo::worker
