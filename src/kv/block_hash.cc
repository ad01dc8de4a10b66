#include "kv/block_hash.h"

#include <xxhash.h>

#include <array>
#include <bit>

#include "base/check.h"
#include "base/random.h"

namespace dynamo::kv {
namespace {

static_assert(std::endian::native == std::endian::little, "hashes are over little-endian bytes");
constexpr uint64_t kSeed = 1337;

uint64_t hash_pair(uint64_t first, uint64_t second) {
  const std::array<uint64_t, 2> words = {first, second};
  return XXH3_64bits_withSeed(words.data(), sizeof(words), kSeed) & hash_mask;
}

}  // namespace

uint64_t hash_mask = ~uint64_t{0};
const TableSecret table_secret = {.offset = random_number(), .factor = random_number() | 1};

TokensHash hash_tokens(std::span<const TokenId> block) {
  return {XXH3_64bits_withSeed(block.data(), block.size_bytes(), kSeed) & hash_mask};
}

BlockHash first_block(TokensHash tokens, uint64_t salt) {
  if (salt == 0) return {tokens.bits};
  return {hash_pair(salt, tokens.bits)};
}

BlockHash next_block(BlockHash parent, TokensHash tokens) {
  return {hash_pair(parent.bits, tokens.bits)};
}

std::vector<BlockHash> hash_chain(std::span<const TokenId> tokens, uint32_t block_tokens, uint64_t salt) {
  CHECK(block_tokens > 0);
  std::vector<BlockHash> chain;
  chain.reserve(tokens.size() / block_tokens);
  for (size_t begin = 0; begin + block_tokens <= tokens.size(); begin += block_tokens) {
    const TokensHash own = hash_tokens(tokens.subspan(begin, block_tokens));
    chain.push_back(chain.empty() ? first_block(own, salt) : next_block(chain.back(), own));
  }
  return chain;
}

}  // namespace dynamo::kv
