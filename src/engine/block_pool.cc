#include "engine/block_pool.h"

#include <algorithm>

#include "base/check.h"

namespace dynamo::engine {

BlockPool::BlockPool(uint32_t blocks, uint32_t block_tokens, kv::KvEventSink* events)
    : block_tokens_(block_tokens), events_(events), blocks_(blocks) {
  CHECK(blocks > 0 && block_tokens > 0);
  empty_.reserve(blocks);
  for (uint32_t i = blocks; i > 0; --i) empty_.push_back(BlockId{i - 1});
}

void BlockPool::hold(BlockId id) {
  Block& block = blocks_[id.value];
  if (block.holders++ == 0 && block.is_known) cached_.erase(block.place);
}

std::vector<BlockId> BlockPool::match(std::span<const TokenId> tokens, std::span<const kv::BlockHash> chain) {
  CHECK(tokens.size() >= chain.size() * block_tokens_);
  std::vector<BlockId> matched;
  for (size_t i = 0; i < chain.size(); ++i) {
    const auto found = index_.find(chain[i]);
    if (found == index_.end()) break;
    const Block& block = blocks_[found->second.value];
    // A known block's parent stays known (it is given up later), so equal parents mean equal prefixes, by induction.
    const bool has_same_parent = i == 0 ? !block.parent : block.parent == chain[i - 1];
    if (!has_same_parent || !std::ranges::equal(block.tokens, tokens.subspan(i * block_tokens_, block_tokens_))) break;
    matched.push_back(found->second);
  }
  for (const BlockId id : matched) hold(id);
  return matched;
}

std::optional<BlockId> BlockPool::allocate() {
  if (empty_.empty()) {
    if (cached_.empty()) return std::nullopt;
    const BlockId oldest = cached_.front();
    cached_.pop_front();
    forget(oldest);
    empty_.push_back(oldest);
  }
  const BlockId id = empty_.back();
  empty_.pop_back();
  blocks_[id.value].holders = 1;
  return id;
}

// Takes a block's content out of the index. Its lists are the caller's business.
void BlockPool::forget(BlockId id) {
  Block& block = blocks_[id.value];
  index_.erase(block.hash);
  block.is_known = false;
  block.tokens.clear();
  if (events_) events_->on_kv_event(kv::BlocksRemoved{{block.hash}});
}

BlockId BlockPool::store(BlockId id, kv::BlockHash hash, const kv::BlockHash* parent, std::span<const TokenId> tokens) {
  Block& block = blocks_[id.value];
  CHECK(block.holders > 0 && !block.is_known && tokens.size() == block_tokens_);
  if (parent != nullptr && !index_.contains(*parent)) return id;
  const auto [place, is_new] = index_.try_emplace(hash, id);
  if (!is_new) {
    const BlockId known = place->second;
    if (!std::ranges::equal(blocks_[known.value].tokens, tokens))
      return id;  // another content of the same hash: not to be matched
    hold(known);
    release(id);
    return known;
  }
  block.is_known = true;
  block.hash = hash;
  block.parent = parent ? std::optional(*parent) : std::nullopt;
  block.tokens.assign(tokens.begin(), tokens.end());
  if (events_) {
    events_->on_kv_event(kv::BlocksStored{.has_parent = parent != nullptr,
                                          .parent = parent ? *parent : kv::BlockHash{},
                                          .blocks = {hash},
                                          .tokens = {kv::hash_tokens(tokens)}});
  }
  return id;
}

void BlockPool::release(BlockId id) {
  Block& block = blocks_[id.value];
  CHECK(block.holders > 0);
  if (--block.holders > 0) return;
  if (block.is_known) {
    block.place = cached_.insert(cached_.end(), id);
  } else {
    empty_.push_back(id);
  }
}

void BlockPool::clear() {
  for (const BlockId id : cached_) empty_.push_back(id);
  cached_.clear();
  for (const auto& [hash, id] : index_) {
    blocks_[id.value].is_known = false;
    blocks_[id.value].tokens.clear();
  }
  index_.clear();
  if (events_) events_->on_kv_event(kv::BlocksCleared{});
}

void BlockPool::check_invariants() const {
  size_t held = 0;
  size_t known = 0;
  for (uint32_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    held += block.holders > 0;
    known += block.is_known;
    if (block.is_known) {
      CHECK(index_.at(block.hash) == BlockId{i});
      CHECK(block.tokens.size() == block_tokens_);
      // Leaf first: whoever is known follows a block that is known.
      CHECK(!block.parent || index_.contains(*block.parent));
    }
  }
  CHECK(known == index_.size());
  CHECK(held + empty_.size() + cached_.size() == blocks_.size());
  for (const BlockId id : cached_) CHECK(blocks_[id.value].holders == 0 && blocks_[id.value].is_known);
  for (const BlockId id : empty_) CHECK(blocks_[id.value].holders == 0 && !blocks_[id.value].is_known);
}

}  // namespace dynamo::engine
