// The engine without its thread: sequences, scheduler and runner, driven one step at a time.
// Tests and simulation drive it directly; engine.cc gives it a thread and an inbox.  Threads: one.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "base/metrics.h"
#include "engine/block_pool.h"
#include "engine/engine.h"
#include "engine/scheduler.h"

namespace dynamo::engine {

class EngineCore {
 public:
  EngineCore(EngineOptions options, std::unique_ptr<StepRunner> runner, const Clock* clock, kv::KvEventSink* events,
             Metrics* metrics, const MetricLabels& labels);

  // As Engine::submit, on this thread.
  static Status check(const EngineOptions& options, const GenerateRequest& request);
  void add(SequenceId id, GenerateRequest request, std::shared_ptr<ChunkSink> sink, Handoff handoff = {});
  void cancel(SequenceId id);

  // As the methods of Engine.
  void received(SequenceId id, uint32_t attempt, uint32_t tokens);
  void received_all(SequenceId id, uint32_t attempt, DrawnToken first, uint32_t cached_tokens);
  void fetch_again(SequenceId id, uint32_t attempt);
  void prefill_here(SequenceId id, uint32_t attempt, bool keeps_received);
  void release(const std::vector<BlockId>& blocks);

  bool has_work() const { return scheduler_.running() + scheduler_.waiting() + scheduler_.under_way() > 0; }
  // Gives up what is past its deadline, issues steps as far as the runner has room for them, and finishes the oldest:
  // hands out what was drawn, and signs of life. Requires: has_work().
  // Returns: false if there was nothing to compute: all sequences wait for prompts from elsewhere, or for room that
  // those have. No step is under way then.
  bool step();
  // When step() has something to do at the latest, though nothing comes from outside.
  Time next_deadline() const;
  void clear_cache() { pool_.clear(); }
  // Ends every sequence with `status`, and waits for the steps under way.
  void fail_all(const Status& status);

  EngineLoad load() const;
  const BlockPool& pool() const { return pool_; }

 private:
  void expire();
  bool issue();
  void finish_oldest();
  void fill_step(std::span<const Turn> turns);
  void fail_step(const std::vector<Turn>& turns, const Status& why);
  void emit(Sequence* sequence, DrawnToken drawn);
  void fail_alone(const Sequence& sequence, const Status& status);
  void reserve(Sequence* sequence);
  void tell_target(Sequence* sequence);
  void start(Sequence* sequence);
  void measure(const std::vector<Turn>& turns, Time issued);
  Sequence* receiving(SequenceId id, uint32_t attempt) const;
  void fail(SequenceId id, const Status& status);
  void tell_signs_of_life();
  void tell_sign_of_life(Sequence* sequence, Time now);

  EngineOptions options_;
  std::unique_ptr<StepRunner> runner_;
  const Clock* clock_;
  BlockPool pool_;
  Scheduler scheduler_;
  prometheus::Counter& prompt_tokens_;
  prometheus::Counter& cached_tokens_;
  prometheus::Counter& generated_tokens_;
  prometheus::Counter& preemption_count_;
  prometheus::Histogram& step_rows_;
  prometheus::Histogram& step_seconds_;
  prometheus::Histogram& queue_seconds_;
  kernels::Step step_;           // as begun last; kept for its memory
  std::deque<Time> issued_;      // when the steps under way were
  Time finished_ = Time::min();  // when the last step was
  Time looked_;                  // for sequences that wait for a sign of life, while a step runs
  uint64_t counted_preemptions_ = 0;
  double prefill_rate_ = 0;  // tokens/s
  uint64_t next_seed_;
};

}  // namespace dynamo::engine
