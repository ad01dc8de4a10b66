#include "kv/kv_layout.h"

#include <fmt/format.h>

namespace dynamo::kv {

Status check_block_tokens(uint32_t block_tokens) {
  if (block_tokens >= 1 && block_tokens <= kMostBlockTokens) return {};
  return invalid(fmt::format("block_tokens {}: must be in [1, {}]", block_tokens, kMostBlockTokens));
}

}  // namespace dynamo::kv
