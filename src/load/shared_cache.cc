#include "load/shared_cache.h"

namespace dynamo::load {

uint64_t SharedCache::take(std::span<const TokenId> prompt) {
  const auto chain = kv::hash_chain(prompt, block_tokens_);
  uint64_t known = 0;
  while (known < chain.size() && blocks_.contains(chain[known])) ++known;
  blocks_.insert(chain.begin() + static_cast<ptrdiff_t>(known), chain.end());
  if (known * block_tokens_ == prompt.size() && known > 0) --known;
  return known * block_tokens_;
}

}  // namespace dynamo::load
