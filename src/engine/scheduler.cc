#include "engine/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace dynamo::engine {
namespace {

uint32_t blocks_for(uint32_t tokens, uint32_t block_tokens) {
  return (tokens + block_tokens - 1) / block_tokens;
}

}  // namespace

Scheduler::Scheduler(SchedulerOptions options, BlockPool* pool) : options_(options), pool_(pool) {
  for (uint32_t seat = options.max_sequences; seat > 0; --seat) free_seats_.push_back(seat - 1);
}

void Scheduler::add(std::unique_ptr<Sequence> sequence) {
  CHECK(sequence->blocks.empty() && sequence->computed == 0 && !sequence->tokens.empty());
  Sequence* added = sequence.get();
  CHECK(all_.emplace(added->id, std::move(sequence)).second);
  waiting_.insert(added);
}

std::unique_ptr<Sequence> Scheduler::remove(SequenceId id) {
  const auto found = all_.find(id);
  if (found == all_.end()) return nullptr;
  std::unique_ptr<Sequence> sequence = std::move(found->second);
  all_.erase(found);
  if (running_.erase(sequence.get()) == 0) waiting_.erase(sequence.get());
  for (std::vector<Turn>& step : under_way_) {
    for (Turn& turn : step)
      if (turn.sequence == sequence.get()) turn.sequence = nullptr;
  }
  release_blocks(sequence.get());
  return sequence;
}

void Scheduler::extend_chain(Sequence* sequence) const {
  kv::extend_chain(sequence->content(), options_.block_tokens, &sequence->chain);
}

// What a sequence holds, and what others may wait for it to compute.
void Scheduler::release_blocks(Sequence* sequence) {
  for (const kv::BlockHash& hash : sequence->chain) {
    const auto found = computing_.find(hash);
    if (found != computing_.end() && found->second == sequence) computing_.erase(found);
  }
  retire(std::exchange(sequence->blocks, {}), std::exchange(sequence->seat, std::nullopt));
  sequence->computed = sequence->issued = sequence->drawing = 0;
}

// Gives them back as soon as no step under way can touch them: when the last one issued is completed.
void Scheduler::retire(std::vector<BlockId> blocks, std::optional<uint32_t> seat) {
  if (blocks.empty() && !seat) return;
  Retired retired{.after = completed_ + under_way_.size(), .blocks = std::move(blocks), .seat = seat};
  if (under_way_.empty()) return give_back(retired);
  retired_.push_back(std::move(retired));
}

void Scheduler::give_back(const Retired& retired) {
  for (auto block = retired.blocks.rbegin(); block != retired.blocks.rend(); ++block) pool_->release(*block);
  if (retired.seat) free_seats_.push_back(*retired.seat);
}

void Scheduler::preempt(Sequence* sequence) {
  ++preemptions_;
  requeue(sequence);
}

void Scheduler::requeue(Sequence* sequence) {
  sequence->is_receiving = false;
  release_blocks(sequence);
  running_.erase(sequence);
  waiting_.insert(sequence);
}

// Gives the sequence blocks for its first `tokens` tokens. On false it holds what there was.
bool Scheduler::cover(Sequence* sequence, uint32_t tokens) {
  while (sequence->blocks.size() < blocks_for(tokens, options_.block_tokens)) {
    const auto block = pool_->allocate();
    if (!block) return false;
    sequence->blocks.push_back(*block);
  }
  return true;
}

// As cover(), taking blocks from the last in order, which may be this sequence itself: then false. Also false where
// steps are under way, which must end before.
bool Scheduler::cover_or_preempt(Sequence* sequence, uint32_t tokens) {
  while (!cover(sequence, tokens)) {
    must_drain_ = !under_way_.empty();
    if (must_drain_) return false;
    // Blocks that are being written from elsewhere would not come free by that.
    Sequence* last = *std::find_if(running_.rbegin(), running_.rend(), [](auto* one) { return !one->is_receiving; });
    preempt(last);
    if (last == sequence) return false;
  }
  return true;
}

// Whether a running sequence is about to make known the block that the cache misses first of this one: that very block, after
// the same blocks. An equal hash alone is nothing to wait for: what is computed there would not be found.
bool Scheduler::is_computed_elsewhere(const Sequence& sequence) const {
  const size_t missing = sequence.blocks.size();
  if (missing >= sequence.chain.size()) return false;
  const auto found = computing_.find(sequence.chain[missing]);
  if (found == computing_.end() || pool_->is_taken(found->first)) return false;
  const Sequence& other = *found->second;
  const size_t end = (missing + 1) * options_.block_tokens;
  if (other.computed >= end || other.tokens.size() < end || other.blocks.size() < missing) return false;
  if (missing > 0 && other.blocks[missing - 1] != sequence.blocks[missing - 1]) return false;
  std::vector<uint32_t> scratch;
  std::vector<uint32_t> others;
  return std::ranges::equal(kv::block_words(sequence.content(), options_.block_tokens, missing, &scratch),
                            kv::block_words(other.content(), options_.block_tokens, missing, &others));
}

// Moves a waiting sequence to the running ones, with what the cache has of it and blocks for all its tokens.
bool Scheduler::admit(Sequence* sequence) {
  extend_chain(sequence);
  // The last token is always computed, since its logits are needed.
  const size_t matchable = (sequence->tokens.size() - 1) / options_.block_tokens;
  const auto chain = std::span(sequence->chain).first(std::min(matchable, sequence->chain.size()));
  sequence->blocks = pool_->match(sequence->content(), chain);
  sequence->computed = sequence->issued = static_cast<uint32_t>(sequence->blocks.size()) * options_.block_tokens;
  const uint32_t missing =
      blocks_for(sequence->size(), options_.block_tokens) - static_cast<uint32_t>(sequence->blocks.size());
  if (is_computed_elsewhere(*sequence) || missing > pool_->available()) {
    for (; !sequence->blocks.empty(); sequence->blocks.pop_back()) pool_->release(sequence->blocks.back());
    sequence->computed = sequence->issued = 0;
    return false;
  }
  sequence->seat = free_seats_.back();
  free_seats_.pop_back();
  CHECK(cover(sequence, sequence->size()));
  for (size_t i = sequence->computed / options_.block_tokens; i < sequence->chain.size(); ++i) {
    computing_.try_emplace(sequence->chain[i], sequence);
  }
  if (!sequence->cached) sequence->cached = std::min(sequence->computed, sequence->prompt_size());
  waiting_.erase(sequence);
  running_.insert(sequence);
  return true;
}

void Scheduler::take(Sequence* sequence, uint32_t* budget, std::vector<Turn>* step) {
  sequence->scheduled = std::min(*budget, sequence->unissued());
  *budget -= sequence->scheduled;
  step->push_back({.sequence = sequence,
                   .first = sequence->issued,
                   .rows = sequence->scheduled,
                   .draws = sequence->scheduled == sequence->unissued()});
}

// In order. Preempting takes from the far end, so never one that this loop has taken.
void Scheduler::take_decoding(uint32_t* budget, std::vector<Turn>* step) {
  for (auto at = running_.begin(); at != running_.end() && *budget > 0;) {
    Sequence* sequence = *at;
    if (sequence->is_decoding() && sequence->can_be_issued()) {
      if (!cover_or_preempt(sequence, sequence->issued + 1)) return;
      take(sequence, budget, step);
    }
    at = std::next(running_.find(sequence));
  }
}

void Scheduler::take_prefilling(uint32_t* budget, std::vector<Turn>* step) {
  for (auto at = running_.begin(); at != running_.end() && *budget > 0; ++at) {
    if ((*at)->scheduled == 0 && !(*at)->is_decoding() && (*at)->can_be_issued()) take(*at, budget, step);
  }
}

void Scheduler::take_waiting(uint32_t* budget, std::vector<Turn>* step) {
  is_full_ = false;
  for (auto at = waiting_.begin(); at != waiting_.end() && *budget > 0 && !free_seats_.empty();) {
    Sequence* sequence = *at++;
    const size_t before = pool_->available();
    if (admit(sequence)) {
      sequence->is_receiving = sequence->handoff.source != nullptr &&
                               sequence->output_size() == sequence->request.drawn_before &&
                               sequence->handoff.source->has_more(sequence->computed);
      if (sequence->is_receiving) {
        receiving_.push_back(sequence);
      } else {
        take(sequence, budget, step);
      }
    } else if (before < blocks_for(sequence->size(), options_.block_tokens)) {
      is_full_ = true;
      break;  // no room: those behind it must not overtake it for ever
    }
  }
  is_full_ |= free_seats_.empty();
}

std::span<const Turn> Scheduler::schedule() {
  if (must_drain_ && !under_way_.empty()) return {};
  must_drain_ = false;
  uint32_t budget = options_.max_batch_tokens;
  std::vector<Turn> step;
  take_decoding(&budget, &step);
  if (!must_drain_) {
    take_prefilling(&budget, &step);
    take_waiting(&budget, &step);
  }
  if (step.empty()) return {};
  for (const Turn& turn : step) {
    turn.sequence->issued += std::exchange(turn.sequence->scheduled, 0);
    turn.sequence->drawing += turn.draws;
  }
  under_way_.push_back(std::move(step));
  return under_way_.back();
}

std::vector<Turn> Scheduler::withdraw() {
  std::vector<Turn> step = std::move(under_way_.back());
  under_way_.pop_back();
  return step;
}

std::vector<Turn> Scheduler::complete(bool is_computed) {
  CHECK(!under_way_.empty());
  std::vector<Turn> step = std::move(under_way_.front());
  under_way_.pop_front();
  ++completed_;
  for (const Turn& turn : step) {
    if (turn.sequence == nullptr || !is_computed) continue;
    turn.sequence->drawing -= turn.draws;
    advance(turn.sequence, turn.first + turn.rows);
  }
  for (; !retired_.empty() && retired_.front().after <= completed_; retired_.pop_front()) give_back(retired_.front());
  return step;
}

// Blocks that are full now become known to the pool.
void Scheduler::advance(Sequence* sequence, uint32_t computed) {
  const uint32_t size = options_.block_tokens;
  const uint32_t first = sequence->computed / size;
  sequence->computed = computed;
  sequence->issued = std::max(sequence->issued, computed);
  extend_chain(sequence);
  std::vector<uint32_t> scratch;
  for (uint32_t i = first; (i + 1) * size <= sequence->computed; ++i) {
    const BlockPool::Content content{
        .parent = i == 0 ? std::nullopt : std::optional(sequence->blocks[i - 1]),
        .words = kv::block_words(sequence->content(), size, i, &scratch),
    };
    const BlockId own = sequence->blocks[i];
    pool_->hold(own);  // steps under way have it in their tables, also if another takes its place now
    sequence->blocks[i] = pool_->store(own, sequence->chain[i], content);
    if (sequence->blocks[i] == own) {
      pool_->release(own);
    } else {
      retire({own}, std::nullopt);
    }
    const auto found = computing_.find(sequence->chain[i]);
    if (found != computing_.end() && found->second == sequence) computing_.erase(found);
  }
}

void Scheduler::receive(Sequence* sequence, uint32_t tokens) {
  CHECK(sequence->is_receiving && tokens <= sequence->size());
  if (tokens > sequence->computed) advance(sequence, tokens);
}

Sequence* Scheduler::find(SequenceId id) const {
  const auto found = all_.find(id);
  return found == all_.end() ? nullptr : found->second.get();
}

void Scheduler::append(Sequence* sequence, TokenId token) {
  sequence->tokens.push_back(token);
}

uint64_t Scheduler::queued_tokens() const {
  uint64_t tokens = 0;
  for (const auto& [id, sequence] : all_) {
    if (sequence->handoff.source && (sequence->is_receiving || !sequence->seat)) continue;  // most comes from elsewhere
    if (sequence->computed < sequence->prompt_size()) tokens += sequence->prompt_size() - sequence->computed;
  }
  return tokens;
}

std::vector<Sequence*> Scheduler::sequences() const {
  std::vector<Sequence*> sequences;
  for (const auto& [id, sequence] : all_) sequences.push_back(sequence.get());
  return sequences;
}

}  // namespace dynamo::engine
