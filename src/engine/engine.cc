#include "engine/engine.h"

#include <atomic>
#include <condition_variable>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "base/mutex.h"
#include "engine/engine_core.h"
#include "engine/metrics.h"

namespace dynamo::engine {
namespace {

Status check_range(const char* option, uint64_t value, uint64_t least, uint64_t most) {
  if (value >= least && value <= most) return {};
  return invalid(fmt::format("{} {}: must be in [{}, {}]", option, value, least, most));
}

Status check_options(const EngineOptions& options) {
  TRY_STATUS(kv::check_block_tokens(options.block_tokens));
  TRY_STATUS(check_range("kv_blocks", options.kv_blocks, 1, UINT32_MAX));
  TRY_STATUS(check_range("context_length", options.context_length, 2, UINT32_MAX));
  TRY_STATUS(check_range("vocab_size", options.vocab_size, 1, UINT32_MAX));
  TRY_STATUS(check_range("max_batch_tokens", options.max_batch_tokens, 1, 65536));
  return check_range("max_sequences", options.max_sequences, 1, 4096);
}

class ThreadedEngine final : public Engine {
 public:
  ThreadedEngine(EngineOptions options, std::unique_ptr<StepRunner> runner, const Clock* clock, kv::KvEventSink* events,
                 Metrics* metrics, const MetricLabels& labels)
      : options_(options), clock_(clock), core_(options, std::move(runner), clock, events, metrics, labels) {
    load_ = core_.load();
    metrics->gauge(kTotalBlocks, labels).Set(options.kv_blocks);
    set_gauges_ = [&running = metrics->gauge(kRunning, labels), &waiting = metrics->gauge(kWaiting, labels),
                   &used = metrics->gauge(kUsedBlocks, labels),
                   &cached = metrics->gauge(kCachedBlocks, labels)](const EngineLoad& load) {
      running.Set(load.running);
      waiting.Set(load.waiting);
      used.Set(load.used_blocks);
      cached.Set(load.cached_blocks);
    };
    thread_ = std::thread([this] { run(); });
  }
  ~ThreadedEngine() override { CHECK(!thread_.joinable()); }

  Result<SequenceId> submit(GenerateRequest request, std::shared_ptr<ChunkSink> sink, Handoff handoff) override {
    TRY_STATUS(EngineCore::check(options_, request));
    MutexLock lock(mutex_);
    if (stop_at_) return unavailable("the engine is stopping");
    if (load_.waiting + inbox_.size() >= uint64_t{options_.max_waiting} + free_places()) {
      return exhausted(fmt::format("{} requests are waiting already; try again later", load_.waiting + inbox_.size()));
    }
    const SequenceId id{next_id_++};
    inbox_.push_back({id, std::move(request), std::move(sink), std::move(handoff)});
    wake_.notify_one();
    return id;
  }

  void cancel(SequenceId id) override {
    order([id](EngineCore* core) { core->cancel(id); });
  }
  void clear_cache() override {
    order([](EngineCore* core) { core->clear_cache(); });
  }
  void received(SequenceId id, uint32_t attempt, uint32_t tokens) override {
    order([=](EngineCore* core) { core->received(id, attempt, tokens); });
  }
  void received_all(SequenceId id, uint32_t attempt, DrawnToken first, uint32_t cached_tokens) override {
    order([=, first = std::move(first)](EngineCore* core) mutable {
      core->received_all(id, attempt, std::move(first), cached_tokens);
    });
  }
  void fetch_again(SequenceId id, uint32_t attempt) override {
    order([=](EngineCore* core) { core->fetch_again(id, attempt); });
  }
  void prefill_here(SequenceId id, uint32_t attempt, bool keeps_received) override {
    order([=](EngineCore* core) { core->prefill_here(id, attempt, keeps_received); });
  }
  void release(std::vector<BlockId> blocks) override {
    order([blocks = std::move(blocks)](EngineCore* core) { core->release(blocks); });
  }

  EngineLoad load() const override {
    MutexLock lock(mutex_);
    return load_;
  }

  void stop(Time until) override {
    {
      MutexLock lock(mutex_);
      stop_at_ = stop_at_ ? std::min(*stop_at_, until) : until;
      wake_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  struct Submission {
    SequenceId id;
    GenerateRequest request;
    std::shared_ptr<ChunkSink> sink;
    Handoff handoff;
  };

  // Requests that need not wait: they will be admitted by the next step.
  uint64_t free_places() const REQUIRES(mutex_) {
    return options_.max_sequences > load_.running ? options_.max_sequences - load_.running : 0;
  }

  using Order = std::function<void(EngineCore* core)>;
  void order(Order order) {
    MutexLock lock(mutex_);
    orders_.push_back(std::move(order));
    wake_.notify_one();
  }

  // Sleeps until there is something to do. Returns: what came in, and whether to end.
  struct Orders {
    std::vector<Submission> submissions;
    std::vector<Order> others;  // after the submissions
    bool must_end = false;
  };
  Orders wait_for_orders(bool is_idle) {
    const Time until = !is_idle ? Time::min() : core_.has_work() ? core_.next_deadline() : Time::max();
    MutexLock lock(mutex_);
    while (inbox_.empty() && orders_.empty() && clock_->now() < std::min(until, stop_at_.value_or(Time::max())) &&
           (!stop_at_ || core_.has_work())) {
      const Time wake_at = std::min(until, stop_at_.value_or(Time::max()));
      if (wake_at == Time::max()) {
        wake_.wait(mutex_);
      } else {
        wake_.wait_until(mutex_, wake_at);
      }
    }
    Orders orders{std::exchange(inbox_, {}), std::exchange(orders_, {}), false};
    orders.must_end = stop_at_ && (clock_->now() >= *stop_at_ || (!core_.has_work() && orders.submissions.empty()));
    return orders;
  }

  void publish_load() {
    const EngineLoad load = core_.load();
    set_gauges_(load);
    MutexLock lock(mutex_);
    load_ = load;
  }

  void run() {
    for (bool is_idle = true;;) {
      Orders orders = wait_for_orders(is_idle);
      for (Submission& one : orders.submissions)
        core_.add(one.id, std::move(one.request), std::move(one.sink), std::move(one.handoff));
      for (Order& one : orders.others) one(&core_);
      if (orders.must_end) break;
      is_idle = !core_.has_work() || !core_.step();
      publish_load();
    }
    core_.fail_all(unavailable("the engine is stopping"));
    publish_load();
  }

  const EngineOptions options_;
  const Clock* clock_;
  EngineCore core_;  // the engine thread's
  std::function<void(const EngineLoad&)> set_gauges_;
  mutable Mutex mutex_;
  std::condition_variable_any wake_;
  std::vector<Submission> inbox_ GUARDED_BY(mutex_);
  std::vector<Order> orders_ GUARDED_BY(mutex_);
  std::optional<Time> stop_at_ GUARDED_BY(mutex_);
  EngineLoad load_ GUARDED_BY(mutex_);
  uint64_t next_id_ GUARDED_BY(mutex_) = 1;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Engine>> Engine::start(EngineOptions options, std::unique_ptr<StepRunner> runner,
                                              const Clock* clock, kv::KvEventSink* events, Metrics* metrics,
                                              const MetricLabels& labels) {
  TRY_STATUS(check_options(options));
  std::unique_ptr<Engine> engine =
      std::make_unique<ThreadedEngine>(options, std::move(runner), clock, events, metrics, labels);
  return engine;
}

}  // namespace dynamo::engine
