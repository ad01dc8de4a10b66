#include "engine/block_pool.h"

#include <algorithm>

#include "base/check.h"

namespace dynamo::engine {

BlockPool::BlockPool(uint32_t blocks, uint32_t block_tokens, kv::KvEventSink* events, kv::Tier tier)
    : block_tokens_(block_tokens), events_(events), tier_(tier), blocks_(blocks) {
  CHECK(blocks > 0 && block_tokens > 0);
  empty_.reserve(blocks);
  for (uint32_t i = blocks; i > 0; --i) empty_.push_back(BlockId{i - 1});
}

void BlockPool::tell(kv::KvEvent::What what, std::vector<kv::BlockHash> blocks) {
  if (events_ != nullptr) events_->on_kv_event({what, std::move(blocks), tier_});
}

void BlockPool::hold(BlockId id) {
  Block& block = blocks_[id.value];
  if (block.holders++ == 0 && block.is_known) cached_.erase(block.place);
}

bool BlockPool::Block::holds(const Content& content) const {
  return parent == content.parent && std::ranges::equal(words, content.words);
}

std::vector<BlockId> BlockPool::match(const kv::PromptView& prompt, std::span<const kv::BlockHash> chain) {
  std::vector<BlockId> matched;
  std::vector<uint32_t> scratch;
  Content wanted;
  for (size_t i = 0; i < chain.size(); ++i) {
    const auto found = index_.find(chain[i]);
    wanted.words = kv::block_words(prompt, block_tokens_, i, &scratch);
    if (found == index_.end() || !blocks_[found->second.value].holds(wanted)) break;
    matched.push_back(found->second);
    wanted.parent = found->second;
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

// Takes a known block that no known one follows out of the index. Its lists are the caller's business.
void BlockPool::forget_leaf(BlockId id) {
  Block& block = blocks_[id.value];
  if (block.parent) {
    auto& siblings = blocks_[block.parent->value].children;
    siblings[block.child_place] = siblings.back();
    blocks_[siblings.back().value].child_place = block.child_place;
    siblings.pop_back();
  }
  index_.erase(block.hash);
  block.is_known = false;
  block.words.clear();
  tell(kv::KvEvent::What::kRemoved, {block.hash});
}

// Takes a known block's content out of the index, and before it what follows. Mostly nothing does; but a hand-off can hold
// a block without the one that it follows, where store() gave another for that one. The block's own lists are the caller's
// business.  Cost: constant for each block forgotten.
void BlockPool::forget(BlockId id) {
  for (BlockId at = id;;) {
    const Block& block = blocks_[at.value];
    if (!block.children.empty()) {
      at = block.children.back();
      continue;
    }
    forget_leaf(at);
    if (at == id) return;
    if (block.holders == 0) {
      cached_.erase(block.place);
      empty_.push_back(at);
    }
    at = *block.parent;
  }
}

BlockId BlockPool::store(BlockId id, kv::BlockHash hash, const Content& content) {
  Block& block = blocks_[id.value];
  CHECK(block.holders > 0 && !block.is_known && content.words.size() >= block_tokens_);
  Block* const parent = content.parent ? &blocks_[content.parent->value] : nullptr;
  CHECK(parent == nullptr || parent->holders > 0);
  if (parent != nullptr && !parent->is_known) return id;
  const auto [place, is_new] = index_.try_emplace(hash, id);
  if (!is_new) {
    const BlockId known = place->second;
    if (!blocks_[known.value].holds(content)) return id;
    hold(known);
    release(id);
    return known;
  }
  block.is_known = true;
  block.hash = hash;
  block.parent = content.parent;
  block.words.assign(content.words.begin(), content.words.end());
  if (parent != nullptr) {
    block.child_place = parent->children.size();
    parent->children.push_back(id);
  }
  tell(kv::KvEvent::What::kStored, {hash});
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
    blocks_[id.value].children.clear();
    blocks_[id.value].words.clear();
  }
  index_.clear();
  tell(kv::KvEvent::What::kCleared, {});
}

void BlockPool::distrust(std::span<const BlockId> blocks) {
  for (const BlockId id : blocks)
    if (blocks_[id.value].is_known) forget(id);
}

void BlockPool::check_invariants() const {
  size_t held = 0;
  size_t known = 0;
  size_t children = 0;
  size_t followers = 0;
  for (uint32_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    held += block.holders > 0;
    known += block.is_known;
    if (block.is_known) {
      CHECK(index_.at(block.hash) == BlockId{i});
      CHECK(block.words.size() >= block_tokens_);
      if (block.parent) {
        const Block& parent = blocks_[block.parent->value];
        CHECK(parent.is_known && parent.children.at(block.child_place) == BlockId{i});
        ++followers;
      }
    }
    children += block.children.size();
  }
  CHECK(children == followers);
  CHECK(known == index_.size());
  CHECK(held + empty_.size() + cached_.size() == blocks_.size());
  for (const BlockId id : cached_) CHECK(blocks_[id.value].holders == 0 && blocks_[id.value].is_known);
  for (const BlockId id : empty_) CHECK(blocks_[id.value].holders == 0 && !blocks_[id.value].is_known);
}

}  // namespace dynamo::engine
