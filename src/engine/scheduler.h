// Decides what each step computes. Deterministic: no thread, no clock, no chance.
//
// A sequence has uncomputed tokens: one when it decodes, the rest of its prompt when it prefills (or was preempted). A step takes
// up to max_batch_tokens of them: first the sequences that decode, then chunks of those that prefill, then waiting ones are
// admitted, by priority and then arrival, as long as the pool has room for their whole prompt. When a running sequence needs a block and none is left, the lowest in that order
// gives up its blocks and waits again; what it had is recomputed (or found in the cache), and its tokens so far stand.
// Idea: Agrawal et al. 2024 (Sarathi-Serve).  Threads: the engine's.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/block_pool.h"
#include "engine/sequence.h"
#include "kv/kv_layout.h"

namespace dynamo::engine {

struct SchedulerOptions {
  uint32_t block_tokens = kv::kDefaultBlockTokens;
  uint32_t max_batch_tokens = 512;
  uint32_t max_sequences = 64;
};

class Scheduler {
 public:
  Scheduler(SchedulerOptions options, BlockPool* pool) : options_(options), pool_(pool) {}

  // Takes a sequence to be computed. Requires: its blocks at full length fit the pool.
  void add(std::unique_ptr<Sequence> sequence);
  // Takes a sequence out, whatever its state; its blocks go back. Null if the id is unknown.
  std::unique_ptr<Sequence> remove(SequenceId id);

  // Chooses the next step: sequences with `scheduled` > 0 and blocks for it, those that decode first. Empty when there is no work.
  // Requires: the step before is completed.
  std::vector<Sequence*> schedule();
  // Those that schedule() has admitted and whose prompt comes from elsewhere; they are in no step until received() or compute_here().
  std::vector<Sequence*> take_receiving() { return std::exchange(receiving_, {}); }
  // Records that the first `tokens` tokens of a receiving sequence are in its blocks. Fewer than known are ignored.
  void receive(Sequence* sequence, uint32_t tokens);
  // Its prompt is all there; it is as one that has computed it.
  void end_receiving(Sequence* sequence) { sequence->is_receiving = false; }
  // Gives back a receiving sequence's blocks; it waits again, and what it received is found in the cache.
  void requeue(Sequence* sequence);
  // Null if unknown.
  Sequence* find(SequenceId id) const;

  // Records that the scheduled tokens are computed: full blocks become known to the pool. Then `scheduled` is 0.
  void complete(const std::vector<Sequence*>& step);
  // Adds a drawn token to a running sequence.
  void append(Sequence* sequence, TokenId token);

  size_t running() const { return running_.size(); }
  size_t waiting() const { return waiting_.size(); }
  // Those that wait found no place or no blocks, as opposed to no room in the last step.
  bool is_full() const { return is_full_ && !waiting_.empty(); }
  uint64_t preemptions() const { return preemptions_; }
  uint64_t queued_tokens() const;  // prompt tokens still to compute here
  // All sequences, running and waiting.
  std::vector<Sequence*> sequences() const;

 private:
  // Who comes first: higher priority, then earlier arrival.
  struct Order {
    bool operator()(const Sequence* a, const Sequence* b) const {
      if (a->request.priority != b->request.priority) return a->request.priority > b->request.priority;
      return a->id < b->id;
    }
  };
  using Queue = std::set<Sequence*, Order>;

  bool cover(Sequence* sequence, uint32_t tokens);
  bool cover_or_preempt(Sequence* sequence, uint32_t tokens);
  bool admit(Sequence* sequence);
  bool is_computed_elsewhere(const Sequence& sequence) const;
  void preempt(Sequence* sequence);
  void advance(Sequence* sequence, uint32_t computed);
  void release_blocks(Sequence* sequence);
  void extend_chain(Sequence* sequence) const;

  SchedulerOptions options_;
  BlockPool* pool_;
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> all_;
  Queue running_;
  Queue waiting_;
  // Prompt blocks that a running sequence is about to make known, and which one; of those whose hashes collide, the first.
  std::unordered_map<kv::BlockHash, const Sequence*> computing_;
  std::vector<Sequence*> receiving_;  // admitted by the last schedule()
  bool is_full_ = false;              // at the last schedule()
  uint64_t preemptions_ = 0;
};

}  // namespace dynamo::engine
