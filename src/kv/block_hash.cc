#include "kv/block_hash.h"

#include <xxhash.h>

#include <array>
#include <bit>

#include "base/check.h"
#include "base/random.h"

namespace dynamo::kv {
namespace {

static_assert(std::endian::native == std::endian::little, "hashes are over little-endian bytes");

uint64_t hash_of(std::span<const uint32_t> words) {
  return XXH3_64bits_withSeed(words.data(), words.size_bytes(), kHashSeed) & hash_mask;
}

uint64_t hash_pair(uint64_t first, uint64_t second) {
  const std::array<uint64_t, 2> words = {first, second};
  return XXH3_64bits_withSeed(words.data(), sizeof(words), kHashSeed) & hash_mask;
}

}  // namespace

uint64_t hash_mask = ~uint64_t{0};
const TableSecret table_secret = {.offset = random_bits(), .factor = random_bits() | 1};

void extend_chain(const PromptView& prompt, uint32_t block_tokens, std::vector<BlockHash>* chain) {
  CHECK(block_tokens > 0);
  std::vector<uint32_t> scratch;
  for (const size_t full = prompt.tokens.size() / block_tokens; chain->size() < full;) {
    const uint64_t own = hash_of(block_words(prompt, block_tokens, chain->size(), &scratch));
    chain->push_back({chain->empty() ? own : hash_pair(chain->back().bits, own)});
  }
}

std::vector<BlockHash> hash_chain(const PromptView& prompt, uint32_t block_tokens) {
  CHECK(block_tokens > 0);
  std::vector<BlockHash> chain;
  chain.reserve(prompt.tokens.size() / block_tokens);
  extend_chain(prompt, block_tokens, &chain);
  return chain;
}

}  // namespace dynamo::kv
