#include "handoff/prefill_side.h"

#include <optional>

#include <fmt/format.h>
#include <boost/asio/this_coro.hpp>

#include "base/log.h"
#include "base/mutex.h"
#include "generate/chunk_mailbox.h"
#include "handoff/metrics.h"
#include "handoff/transfer_rate.h"
#include "wire/chunk.h"
#include "wire/handoff_notice.h"

namespace dynamo::handoff {
namespace {

double seconds(Duration time) {
  return std::chrono::duration<double>(time).count();
}

constexpr Duration kSilenceLimit =
    std::chrono::seconds(20);  // so that the asker, who gives up after 30 s, hears of us every 5

}  // namespace

struct PrefillSide::Counters {
  Counters(Metrics* all, const MetricLabels& their)
      : metrics(all),
        labels(their),
        blocks(all->counter(kSentBlocks, labels)),
        queue(all->counter(kQueueSeconds, labels)),
        compute(all->counter(kComputeSeconds, labels)),
        transfer(all->counter(kTransferSeconds, labels)),
        overlap(all->counter(kOverlapSeconds, labels)),
        rate(all->histogram(kGigabytesPerSecond, labels)) {}
  void count_end(const char* end) {
    MetricLabels with_end = labels;
    with_end["end"] = end;
    metrics->counter(kSent, with_end).Increment();
  }

  Metrics* metrics;
  const MetricLabels labels;
  TransferRate tokens_rate;
  prometheus::Counter& blocks;
  prometheus::Counter& queue;
  prometheus::Counter& compute;
  prometheus::Counter& transfer;
  prometheus::Counter& overlap;
  prometheus::Histogram& rate;
};

// One prompt on its way to another worker. Its blocks are held by the engine until each write has ended.
class PrefillSide::Room final : public engine::BlockTarget,
                                public engine::ChunkSink,
                                public std::enable_shared_from_this<Room> {
 public:
  Room(uint64_t number, uint32_t first_block, std::vector<uint32_t> to, size_t prompt_tokens, engine::Engine* engine,
       BlockMover* mover, std::shared_ptr<const Route> route, std::shared_ptr<ChunkMailbox> mailbox, const Clock* clock)
      : number_(number),
        first_block_(first_block),
        to_(std::move(to)),
        prompt_tokens_(prompt_tokens),
        engine_(engine),
        mover_(mover),
        route_(std::move(route)),
        mailbox_(std::move(mailbox)),
        clock_(clock),
        arrived_(clock->now()) {}

  // On the engine's thread.
  void on_started(SequenceId) override {
    MutexLock lock(mutex_);
    started_ = clock_->now();
  }
  void on_computed(SequenceId id, uint32_t computed, uint32_t first_new, std::vector<BlockId> blocks) override {
    Part part{computed, std::max(first_new, first_block_), std::move(blocks)};
    MutexLock lock(mutex_);
    id_ = id;
    if (is_ending() || part.first >= part.blocks.size()) return engine_->release(std::move(part.blocks));
    if (computed == prompt_tokens_) {
      last_ = std::move(part);  // travels with the token that follows
    } else {
      send(std::move(part), nullptr);
    }
  }
  void on_chunk(TokenChunk chunk) override {
    MutexLock lock(mutex_);
    computed_ = clock_->now();
    busy_when_computed_ = busy_ + (outstanding_ > 0 ? *computed_ - busy_since_ : Duration(0));
    if (!last_) return;  // ending
    if (is_ending()) return engine_->release(std::exchange(last_, std::nullopt)->blocks);
    chunk.finish.reset();  // that is for the other worker to say
    cached_tokens_ = chunk.cached_tokens;
    has_sent_last_ = true;
    send(std::move(*std::exchange(last_, std::nullopt)), &chunk);
  }
  void on_failure(Status status) override {
    MutexLock lock(mutex_);
    fail(std::move(status));
    end_if_quiet();
  }

  void on_sign_of_life() override { tell(wire::HandoffNotice::Kind::kWaiting); }

  // The asker is gone: stops, and then tells it that nothing more comes. Returns: false if it is over already.
  bool abandon(SequenceId id) {
    std::vector<uint64_t> puts;
    {
      MutexLock lock(mutex_);
      if (is_over_) return false;
      is_abandoned_ = true;
      if (last_) engine_->release(std::exchange(last_, std::nullopt)->blocks);
      puts = puts_;
      end_if_quiet();
    }
    engine_->cancel(id);
    for (const uint64_t put : puts) mover_->cancel(put);
    return true;
  }

  // When it is over.
  PrefillReport report(uint32_t block_tokens, Counters* counters) const {
    MutexLock lock(mutex_);
    const Time started = started_.value_or(arrived_);
    const Time computed = computed_.value_or(started);
    PrefillReport report;
    report.cached_tokens = cached_tokens_;
    report.blocks = static_cast<uint32_t>(moved_blocks_);
    report.bytes = bytes_;
    report.queue = started - arrived_;
    report.compute = computed - started;
    report.transfer = busy_;
    report.overlap = busy_when_computed_;
    report.backend = route_->backend();
    counters->blocks.Increment(static_cast<double>(moved_blocks_));
    MetricLabels labels = counters->labels;
    labels["backend"] = route_->backend();
    counters->metrics->counter(kSentBytes, labels).Increment(static_cast<double>(bytes_));
    counters->queue.Increment(seconds(report.queue));
    counters->compute.Increment(seconds(report.compute));
    counters->transfer.Increment(seconds(report.transfer));
    counters->overlap.Increment(seconds(report.overlap));
    if (busy_ > Duration(0) && moved_blocks_ > 0) {
      counters->rate.Observe(static_cast<double>(bytes_) / seconds(busy_) / 1e9);
      counters->tokens_rate.see(static_cast<double>(moved_blocks_) * block_tokens / seconds(busy_));
    }
    return report;
  }

 private:
  // Blocks of the prompt from `first` on, with those before them held too.
  struct Part {
    uint32_t computed = 0;
    uint32_t first = 0;
    std::vector<BlockId> blocks;
  };

  bool is_ending() const REQUIRES(mutex_) { return is_abandoned_ || !failure_.is_ok(); }

  // Without blocks.
  void tell(wire::HandoffNotice::Kind kind) const {
    const wire::HandoffNotice notice{.room = number_, .kind = kind};
    mover_->put(route_, number_, {}, wire::to_bytes(notice), [](const Status&, uint64_t) {});
  }

  void send(Part part, const TokenChunk* first_token) REQUIRES(mutex_) {
    wire::HandoffNotice notice;
    notice.room = number_;
    notice.first_block = part.first;
    notice.computed = part.computed;
    if (first_token != nullptr) notice.first_token = wire::to_bytes(*first_token);
    std::vector<BlockPair> pairs;
    for (size_t i = part.first; i < part.blocks.size(); ++i)
      pairs.push_back({part.blocks[i].value, to_[i - first_block_]});
    const uint64_t count = pairs.size();
    const Time now = clock_->now();
    if (outstanding_++ == 0) busy_since_ = now;
    puts_.push_back(
        mover_->put(route_, number_, std::move(pairs), wire::to_bytes(notice),
                    [self = shared_from_this(), blocks = std::move(part.blocks), count](
                        const Status& status, uint64_t bytes) { self->on_put(status, bytes, count, blocks); }));
  }

  // On a thread of the mover's.
  void on_put(const Status& status, uint64_t bytes, uint64_t blocks, const std::vector<BlockId>& held) {
    engine_->release(held);
    MutexLock lock(mutex_);
    if (--outstanding_ == 0) busy_ += clock_->now() - busy_since_;
    if (status.is_ok()) {
      bytes_ += bytes;
      moved_blocks_ += blocks;
    } else if (!is_ending()) {
      engine_->cancel(id_);
      fail(status);
    }
    end_if_quiet();
  }

  void fail(Status status) REQUIRES(mutex_) {
    if (failure_.is_ok()) failure_ = std::move(status);
    if (last_) engine_->release(std::exchange(last_, std::nullopt)->blocks);
  }

  void end_if_quiet() REQUIRES(mutex_) {
    if (is_over_ || outstanding_ > 0 || !(has_sent_last_ || is_ending())) return;
    is_over_ = true;
    if (is_abandoned_) {
      tell(wire::HandoffNotice::Kind::kClosed);
    } else if (!failure_.is_ok()) {
      mailbox_->fail(failure_);
    } else {
      TokenChunk end;
      end.finish = FinishReason::kStop;
      mailbox_->put(std::move(end));
    }
  }

  const uint64_t number_;
  const uint32_t first_block_;
  const std::vector<uint32_t> to_;  // the asker's blocks, from first_block_ on
  const size_t prompt_tokens_;
  engine::Engine* engine_;
  BlockMover* mover_;
  const std::shared_ptr<const Route> route_;
  const std::shared_ptr<ChunkMailbox> mailbox_;
  const Clock* clock_;
  const Time arrived_;
  mutable Mutex mutex_;
  SequenceId id_ GUARDED_BY(mutex_);
  std::optional<Part> last_ GUARDED_BY(mutex_);  // waits for its token
  std::vector<uint64_t> puts_ GUARDED_BY(mutex_);
  uint32_t outstanding_ GUARDED_BY(mutex_) = 0;
  bool has_sent_last_ GUARDED_BY(mutex_) = false;
  bool is_abandoned_ GUARDED_BY(mutex_) = false;
  bool is_over_ GUARDED_BY(mutex_) = false;
  Status failure_ GUARDED_BY(mutex_);
  uint32_t cached_tokens_ GUARDED_BY(mutex_) = 0;
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t moved_blocks_ GUARDED_BY(mutex_) = 0;
  std::optional<Time> started_ GUARDED_BY(mutex_);
  std::optional<Time> computed_ GUARDED_BY(mutex_);
  Time busy_since_ GUARDED_BY(mutex_);
  Duration busy_ GUARDED_BY(mutex_){};  // time with a write in flight
  Duration busy_when_computed_ GUARDED_BY(mutex_){};
};

PrefillSide::PrefillSide(uint32_t block_tokens, engine::Engine* engine, BlockMover* mover, const Clock* clock,
                         Metrics* metrics, const MetricLabels& labels)
    : block_tokens_(block_tokens),
      engine_(engine),
      mover_(mover),
      clock_(clock),
      counters_(std::make_shared<Counters>(metrics, labels)) {}

Task<Status> PrefillSide::compute(const PrefillOrder* order, std::shared_ptr<Room>* room) {
  GenerateRequest request = order->request;
  CO_TRY(const std::shared_ptr<const Route> route, mover_->route(order->card));
  const uint64_t blocks = (request.prompt.size() + block_tokens_ - 1) / block_tokens_;
  if (order->first_block >= blocks || order->blocks.size() != blocks - order->first_block)
    co_return invalid(fmt::format("a prompt of {} blocks, wanted from block {} on, with {} places for them", blocks,
                                  order->first_block, order->blocks.size()));
  for (const uint32_t block : order->blocks) {
    if (block >= route->blocks())
      co_return invalid(fmt::format("block {} in a pool of {} blocks", block, route->blocks()));
  }
  request.stop.max_tokens = request.drawn_before + 1;
  if (request.silence_limit == Duration(0)) request.silence_limit = kSilenceLimit;
  request.silence_limit = std::min(request.silence_limit, kSilenceLimit);
  const Time until = request.deadline;
  const auto executor = co_await boost::asio::this_coro::executor;
  auto mailbox = std::make_shared<ChunkMailbox>(executor, clock_);
  *room = std::make_shared<Room>(order->room, order->first_block, order->blocks, request.prompt.size(), engine_, mover_,
                                 route, mailbox, clock_);
  engine::Handoff handoff;
  handoff.target = *room;
  CO_TRY(const SequenceId id, engine_->submit(std::move(request), *room, std::move(handoff)));
  struct Guard {
    std::shared_ptr<Room> room;
    SequenceId id;
    Counters* counters;
    ~Guard() {
      if (room->abandon(id)) counters->count_end("cancelled");
    }
  } guard{*room, id, counters_.get()};
  auto end = co_await mailbox->take(until);
  co_return end.status();
}

double PrefillSide::transfer_tokens_per_second() const {
  return counters_->tokens_rate.value();
}

Task<Result<PrefillReport>> PrefillSide::answer(PrefillOrder order) {
  std::shared_ptr<Room> room;
  const Status status = co_await compute(&order, &room);
  const PrefillReport report = room ? room->report(block_tokens_, counters_.get()) : PrefillReport();
  counters_->count_end(status.is_ok() ? "done" : "failed");
  LOG(debug, "prompt sent", {"request_id", order.request.id}, {"status", status.to_string()},
      {"backend", report.backend}, {"blocks", report.blocks}, {"bytes", report.bytes},
      {"queue_s", seconds(report.queue)}, {"compute_s", seconds(report.compute)},
      {"transfer_s", seconds(report.transfer)}, {"overlap_s", seconds(report.overlap)});
  if (!status.is_ok()) co_return status;
  co_return report;
}

}  // namespace dynamo::handoff
