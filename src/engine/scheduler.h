// Decides what each step computes. Deterministic: no thread, no clock, no chance.
//
// A sequence has tokens to compute: one when it decodes, the rest of its prompt when it prefills (or was preempted). A
// step takes up to max_batch_tokens of them: first the sequences that decode, then chunks of those that prefill, then
// waiting ones are admitted, by priority and then arrival, as long as the pool has room for their whole prompt. When a
// running sequence needs a block and none is left, the lowest in that order gives up its blocks and waits again; what
// it had is recomputed (or found in the cache), and its tokens so far stand. Idea: Agrawal et al. 2024
// (Sarathi-Serve).
//
// Steps under way, from schedule() to complete(), in order. What holds meanwhile:
//   - a sequence decodes on before the host knows the token that it decodes: Sequence::issued and drawing count what is
//     under way, computed and tokens what is done. Nothing is issued beyond its limit
//   - blocks become known to the pool when their step is completed, and not before
//   - a block that a step under way may read or write returns to the pool when that step is completed: those of
//     sequences that were removed, and those that store() gave another for. So do seats
//   - who is removed leaves the steps under way: what they compute and draw for it is thrown away
//   - nobody is preempted: where that would be needed, no more steps are issued until none is under way
// Threads: the engine's.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
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

// A sequence's part in a step.
struct Turn {
  Sequence* sequence = nullptr;  // null: it was removed since
  uint32_t first = 0;            // position of the first token
  uint32_t rows = 0;
  bool draws = false;  // a token, after the last
};

class Scheduler {
 public:
  Scheduler(SchedulerOptions options, BlockPool* pool);

  // Takes a sequence to be computed. Requires: its blocks at full length fit the pool.
  void add(std::unique_ptr<Sequence> sequence);
  // Takes a sequence out, whatever its state. Null if the id is unknown.
  std::unique_ptr<Sequence> remove(SequenceId id);

  // Chooses the next step, which is under way then: sequences that decode first. Empty when there is nothing to issue.
  // Valid until the next call.
  std::span<const Turn> schedule();
  // Takes back the step scheduled last, which did not begin. Requires: its sequences are removed next.
  std::vector<Turn> withdraw();
  // The oldest step is over. If it was computed, full blocks become known to the pool; else nothing is known of it,
  // and its sequences are to be removed next. Returns: its turns. Requires: a step is under way.
  std::vector<Turn> complete(bool is_computed);
  size_t under_way() const { return under_way_.size(); }

  // Those that schedule() has admitted and whose prompt comes from elsewhere; they are in no step until
  // end_receiving().
  std::vector<Sequence*> take_receiving() { return std::exchange(receiving_, {}); }
  // Records that the first `tokens` tokens of a receiving sequence are in its blocks. Fewer than known are ignored.
  void receive(Sequence* sequence, uint32_t tokens);
  // Its prompt is all there; it is as one that has computed it.
  void end_receiving(Sequence* sequence) { sequence->is_receiving = false; }
  // Gives back a receiving sequence's blocks; it waits again, and what it received is found in the cache.
  void requeue(Sequence* sequence);
  // Null if unknown.
  Sequence* find(SequenceId id) const;

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

  // What returns to the pool when the step of this number is completed.
  struct Retired {
    uint64_t after = 0;
    std::vector<BlockId> blocks;  // released last first
    std::optional<uint32_t> seat;
  };

  void take_decoding(uint32_t* budget, std::vector<Turn>* step);
  void take_prefilling(uint32_t* budget, std::vector<Turn>* step);
  void take_waiting(uint32_t* budget, std::vector<Turn>* step);
  static void take(Sequence* sequence, uint32_t* budget, std::vector<Turn>* step);
  bool cover(Sequence* sequence, uint32_t tokens);
  bool cover_or_preempt(Sequence* sequence, uint32_t tokens);
  bool admit(Sequence* sequence);
  bool is_computed_elsewhere(const Sequence& sequence) const;
  void preempt(Sequence* sequence);
  void advance(Sequence* sequence, uint32_t computed);
  void release_blocks(Sequence* sequence);
  void retire(std::vector<BlockId> blocks, std::optional<uint32_t> seat);
  void give_back(const Retired& retired);
  void extend_chain(Sequence* sequence) const;

  SchedulerOptions options_;
  BlockPool* pool_;
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> all_;
  Queue running_;
  Queue waiting_;
  // Prompt blocks that a running sequence is about to make known, and which one; of those whose hashes collide, the first.
  std::unordered_map<kv::BlockHash, const Sequence*> computing_;
  std::vector<Sequence*> receiving_;         // admitted by the last schedule()
  std::deque<std::vector<Turn>> under_way_;  // steps, oldest first
  uint64_t completed_ = 0;                   // steps
  std::deque<Retired> retired_;              // by step
  std::vector<uint32_t> free_seats_;
  bool must_drain_ = false;  // somebody is to be preempted
  bool is_full_ = false;     // at the last schedule()
  uint64_t preemptions_ = 0;
};

}  // namespace dynamo::engine
