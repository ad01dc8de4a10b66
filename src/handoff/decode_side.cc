#include "handoff/decode_side.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <unordered_map>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>

#include "base/log.h"
#include "base/timer.h"
#include "generate/prefill_order.h"
#include "handoff/metrics.h"
#include "wire/chunk.h"
#include "wire/handoff_notice.h"

namespace dynamo::handoff {
namespace {

namespace asio = boost::asio;

constexpr Duration kLastNotices = std::chrono::seconds(5);  // to arrive after all was written
constexpr Duration kLook = std::chrono::milliseconds(20);   // at writes that go on

// How an attempt failed: for metrics, and for people.
struct Failure {
  const char* end = nullptr;
  Status why;
  // What the other side computed is broken, by its own word or by what came of it. That may be its memory or the request itself, so
  // nobody else is asked: the whole prompt is computed here.
  bool is_broken = false;
};

// Whether an engine of this vocabulary can have drawn it for the request: engine and frontend rely on that.
bool is_first_of(const TokenChunk& chunk, const GenerateRequest& request, uint32_t vocab_size) {
  const auto is_token = [&](const TokenLogprob& one) { return one.token < vocab_size && !std::isnan(one.logprob); };
  if (chunk.tokens.size() != 1 || chunk.tokens.front() >= vocab_size) return false;
  if (!request.logprobs) return true;
  return chunk.logprobs.size() == 1 && is_token(chunk.logprobs.front().drawn) &&
         chunk.logprobs.front().drawn.token == chunk.tokens.front() &&
         std::ranges::all_of(chunk.logprobs.front().top, is_token);
}

}  // namespace

// One attempt to get one prompt. All but `blocks` and the request belong to the executor.
struct DecodeSide::Room {
  Room(const Clock* clock, const asio::any_io_executor& executor) : over(clock, executor) {}

  uint64_t number = 0;  // lets others write; 0: nobody may
  SequenceId id;
  uint32_t attempt = 0;
  std::shared_ptr<Source> source;
  PrefillPlace place;
  uint32_t first_block = 0;
  std::vector<BlockId> blocks;  // of the whole prompt

  std::map<uint32_t, uint32_t> landed;  // first block -> computed tokens, of what came before what is in front of it
  uint32_t next_block = 0;              // all before it are there
  std::optional<TokenChunk> first;      // token of the answer
  bool is_complete = false;
  bool is_open = false;      // others may write
  bool is_quiet = false;     // the other side has said that it writes no more, or never heard of it
  bool is_given_up = false;  // our engine does not want it any more
  Status wrong;              // what came cannot be of a hand-off
  bool holds_blocks = true;
  Time started;
  Time progress;
  Timer over;  // woken when there is something to look at
};

// All hand-offs of one engine. Everything is on the executor but what says otherwise.
class DecodeSide::Rooms : public std::enable_shared_from_this<Rooms> {
 public:
  Rooms(DecodeSideOptions options, engine::Engine* engine, BlockMover* mover, PrefillPeers* peers,
        asio::any_io_executor executor, const Clock* clock, Metrics* metrics, MetricLabels labels)
      : options_(options),
        engine_(engine),
        mover_(mover),
        peers_(peers),
        executor_(std::move(executor)),
        clock_(clock),
        metrics_(metrics),
        labels_(std::move(labels)),
        receiving_(metrics->gauge(kReceiving, labels_)),
        received_blocks_(metrics->counter(kReceivedBlocks, labels_)),
        retries_(metrics->counter(kRetries, labels_)),
        seconds_(metrics->histogram(kHandoffSeconds, labels_)) {}

  // From any thread.
  void begin(std::shared_ptr<Room> room) {
    ++in_flight_;
    asio::post(executor_, [self = shared_from_this(), room = std::move(room)] {
      if (self->is_stopped_) return;
      asio::co_spawn(self->executor_, self->run(room), [self, room](const std::exception_ptr& failure) {
        if (failure) self->break_off(room.get());
      });
    });
  }
  void give_up(const std::shared_ptr<Room>& room) {
    asio::post(executor_, [room] {
      room->is_given_up = true;
      room->over.wake();
    });
  }
  void on_notice(std::string bytes) {
    asio::post(executor_, [self = shared_from_this(), bytes = std::move(bytes)] { self->take(bytes); });
  }
  void stop() { is_stopped_ = true; }
  size_t in_flight() const { return in_flight_; }
  const Clock* clock() const { return clock_; }
  const asio::any_io_executor& executor() const { return executor_; }
  uint32_t block_tokens() const { return options_.block_tokens; }
  void count_retry() { retries_.Increment(); }

 private:
  Task<void> run(std::shared_ptr<Room> room);
  Task<Failure> fetch(std::shared_ptr<Room> room) const;
  bool may_be_written(const Room& room, Time quarantined_until) const;
  PrefillOrder order_for(const Room& room) const;
  Task<Result<PrefillReport>> ask(std::shared_ptr<Room> room, rpc::Asked* asked) const;
  Task<void> watch(std::shared_ptr<Room> room) const;
  Task<Failure> judge(std::shared_ptr<Room> room, Result<PrefillReport> report, rpc::Asked asked) const;
  void take(const std::string& bytes);
  void complete(Room* room);
  void break_off(Room* room);
  void fall_back(const Room& room, const Failure& failure);
  void close(Room* room) const;
  void release(Room* room);

  const DecodeSideOptions options_;
  engine::Engine* engine_;
  BlockMover* mover_;
  PrefillPeers* peers_;
  const asio::any_io_executor executor_;
  const Clock* clock_;
  Metrics* metrics_;
  const MetricLabels labels_;
  prometheus::Gauge& receiving_;
  prometheus::Counter& received_blocks_;
  prometheus::Counter& retries_;
  prometheus::Histogram& seconds_;
  std::unordered_map<uint64_t, std::shared_ptr<Room>> rooms_;  // by number
  std::atomic<bool> is_stopped_{false};
  std::atomic<size_t> in_flight_{0};  // from any thread
};

class DecodeSide::Source final : public engine::BlockSource, public std::enable_shared_from_this<Source> {
 public:
  Source(std::shared_ptr<Rooms> rooms, GenerateRequest request)
      : rooms_(std::move(rooms)), request_(std::move(request)) {}

  bool has_more(uint32_t) const override { return true; }  // the token that follows the prompt at least
  void on_reserved(SequenceId id, uint32_t attempt, uint32_t cached_tokens, std::vector<BlockId> blocks) override {
    CHECK(attempt >= 1 && attempt <= request_.prefill_at.size());
    auto room = std::make_shared<Room>(rooms_->clock(), rooms_->executor());
    room->id = id;
    room->attempt = attempt;
    room->source = shared_from_this();
    room->place = request_.prefill_at[attempt - 1];
    room->first_block = cached_tokens / rooms_->block_tokens();
    room->next_block = room->first_block;
    room->blocks = std::move(blocks);
    room->started = room->progress = rooms_->clock()->now();
    current_ = room;
    if (attempt > 1) rooms_->count_retry();
    rooms_->begin(std::move(room));
  }
  void on_given_up(SequenceId) override {
    if (const auto room = current_.lock()) rooms_->give_up(room);
  }

  const GenerateRequest& request() const { return request_; }
  bool has_place_after(uint32_t attempt) const { return attempt < request_.prefill_at.size(); }

 private:
  std::shared_ptr<Rooms> rooms_;
  const GenerateRequest request_;
  std::weak_ptr<Room> current_;  // the engine thread's; a room holds its source
};

PrefillOrder DecodeSide::Rooms::order_for(const Room& room) const {
  PrefillOrder order;
  order.request = room.source->request();
  order.request.prefill_at.clear();
  order.room = room.number;
  order.first_block = room.first_block;
  for (size_t i = room.first_block; i < room.blocks.size(); ++i) order.blocks.push_back(room.blocks[i].value);
  order.card = mover_->card();
  return order;
}

// An exception, which watch() would outlast, is an answer too.
Task<Result<PrefillReport>> DecodeSide::Rooms::ask(std::shared_ptr<Room> room, rpc::Asked* asked) const {
  try {
    const Time until = room->source->request().deadline;
    PrefillOrder order = order_for(*room);
    co_return co_await peers_->ask(room->place, std::move(order), until, asked);
  } catch (const std::exception& thrown) {
    co_return internal(thrown.what());
  }
}

// Returns when the hand-off is not wanted any more, what came was wrong, or nothing has come for too long.
Task<void> DecodeSide::Rooms::watch(std::shared_ptr<Room> room) const {
  while (!room->is_given_up && room->wrong.is_ok() && clock_->now() < room->progress + options_.stall_limit) {
    const Time until = room->progress + options_.stall_limit;
    co_await room->over.wait(until);
  }
}

// What a reply, or its failing to come, means. Waits for notices that are still on their way.
Task<Failure> DecodeSide::Rooms::judge(std::shared_ptr<Room> room, Result<PrefillReport> report,
                                       rpc::Asked asked) const {
  if (asked == rpc::Asked::kNotSent) {
    room->is_quiet = true;
    co_return Failure{"unreachable", report.status()};
  }
  if (asked == rpc::Asked::kSent) co_return Failure{"lost", report.status()};
  room->is_quiet = true;
  if (!report.is_ok()) {
    Status why = report.status();
    const bool is_broken = why.code() == Code::kInternal || why.code() == Code::kCorrupt;
    co_return Failure{"refused", std::move(why), is_broken};
  }
  const Time until = clock_->now() + kLastNotices;
  while (!room->is_complete && !room->is_given_up && room->wrong.is_ok() && clock_->now() < until)
    co_await room->over.wait(until);
  if (!room->wrong.is_ok()) co_return Failure{"wrong", room->wrong, /*is_broken=*/true};
  co_return Failure{"not_arrived", unavailable("all was written, but the notices of it did not come")};
}

// Returns: why it failed, unless it is complete.
Task<Failure> DecodeSide::Rooms::fetch(std::shared_ptr<Room> room) const {
  using asio::experimental::awaitable_operators::operator||;
  auto asked = rpc::Asked::kNotSent;
  auto either = co_await (ask(room, &asked) || watch(room));
  if (either.index() == 0) co_return co_await judge(room, std::move(std::get<0>(either)), asked);
  if (!room->wrong.is_ok()) co_return Failure{"wrong", room->wrong, /*is_broken=*/true};
  co_return Failure{"stalled", unavailable(fmt::format("nothing came from {} for too long", room->place.name))};
}

Task<void> DecodeSide::Rooms::run(std::shared_ptr<Room> room) {
  Failure failure{"refused", exhausted("there are as many hand-offs as there can be at once")};
  room->number = mover_->open_room();
  room->is_open = room->number != 0;
  room->is_quiet = !room->is_open;
  if (room->is_open) {
    rooms_[room->number] = room;
    receiving_.Set(static_cast<double>(rooms_.size()));
    failure = co_await fetch(room);
    close(room.get());
  }
  if (!room->is_complete) {
    if (room->is_given_up) {
      failure.end = "given_up";
    } else {
      fall_back(*room, failure);
    }
    const Time quarantined_until = clock_->now() + options_.quarantine;
    while (!room->is_quiet && may_be_written(*room, quarantined_until)) {
      const Time look = clock_->now() + kLook;
      co_await room->over.wait(look);
    }
    release(room.get());
  }
  MetricLabels labels = labels_;
  labels["end"] = room->is_complete ? "done" : failure.end;
  metrics_->counter(kHandoffs, labels).Increment();
  rooms_.erase(room->number);
  receiving_.Set(static_cast<double>(rooms_.size()));
}

// What is left of a hand-off of which run() has thrown, for want of memory most likely.
void DecodeSide::Rooms::break_off(Room* room) {
  LOG(error, "a hand-off broke off with an exception; the rest of the prompt is computed here",
      {"request_id", room->source->request().id}, {"prefill_worker", room->place.name});
  close(room);
  rooms_.erase(room->number);
  engine_->prefill_here(room->id, room->attempt, /*keeps_received=*/true);  // unless the engine has gone on already
  // Blocks to which somebody may still write are not used for anything else, for ever.
  if (room->number == 0 || room->is_quiet || mover_->writing(room->number) == BlockMover::Writing::kOver) release(room);
}

bool DecodeSide::Rooms::may_be_written(const Room& room, Time quarantined_until) const {
  switch (mover_->writing(room.number)) {
    case BlockMover::Writing::kOver:
      return false;
    case BlockMover::Writing::kGoesOn:
      return true;
    case BlockMover::Writing::kUnknown:
      return clock_->now() < quarantined_until;
  }
  return true;
}

// Nobody begins to write to its blocks after this.
void DecodeSide::Rooms::close(Room* room) const {
  if (std::exchange(room->is_open, false)) mover_->close_room(room->number);
}

void DecodeSide::Rooms::fall_back(const Room& room, const Failure& failure) {
  const bool is_last = failure.is_broken || !room.source->has_place_after(room.attempt);
  LOG(warn,
      is_last ? "a hand-off failed; the rest of the prompt is computed here"
              : "a hand-off failed; the next prefill worker is asked",
      {"request_id", room.source->request().id}, {"prefill_worker", room.place.name}, {"how", failure.end},
      {"why", failure.why.to_string()}, {"received_blocks", room.next_block - room.first_block},
      {"of", room.blocks.size() - room.first_block});
  if (!is_last) return engine_->fetch_again(room.id, room.attempt);
  MetricLabels labels = labels_;
  labels["reason"] = failure.end;
  metrics_->counter(kLocalPrefills, labels).Increment();
  engine_->prefill_here(room.id, room.attempt, /*keeps_received=*/!failure.is_broken);
}

void DecodeSide::Rooms::release(Room* room) {
  if (!std::exchange(room->holds_blocks, false)) return;
  engine_->release(room->blocks);
  --in_flight_;
}

void DecodeSide::Rooms::complete(Room* room) {
  room->is_complete = true;
  close(room);
  DrawnToken first{room->first->tokens.front(), {}};
  if (!room->first->logprobs.empty()) first.logprobs = std::move(room->first->logprobs.front());
  engine_->received_all(room->id, room->attempt, std::move(first), room->first->cached_tokens);
  release(room);
  seconds_.Observe(std::chrono::duration<double>(clock_->now() - room->started).count());
  LOG(debug, "prompt received", {"request_id", room->source->request().id}, {"prefill_worker", room->place.name},
      {"blocks", room->blocks.size() - room->first_block});
  room->over.wake();
}

void DecodeSide::Rooms::take(const std::string& bytes) {
  const auto read = wire::handoff_notice_from_bytes(bytes);
  if (!read.is_ok()) return;
  const wire::HandoffNotice& notice = *read;
  const auto found = rooms_.find(notice.room);
  if (found == rooms_.end()) return;  // late, of one that is over
  const std::shared_ptr<Room> room = found->second;
  room->progress = clock_->now();
  if (notice.kind == wire::HandoffNotice::Kind::kClosed) {
    room->is_quiet = true;
    return room->over.wake();
  }
  if (notice.kind == wire::HandoffNotice::Kind::kWaiting) return engine_->received(room->id, room->attempt, 0);
  const uint64_t prompt = room->source->request().prompt.size();
  const uint32_t end = (notice.computed + options_.block_tokens - 1) / options_.block_tokens;
  const bool is_whole = notice.computed % options_.block_tokens == 0 || notice.computed == prompt;
  if (room->is_complete || notice.computed > prompt || !is_whole || notice.first_block < room->next_block ||
      notice.first_block >= end)
    return;
  if (!notice.first_token.empty()) {
    auto first = wire::chunk_from_bytes(notice.first_token);
    if (!first.is_ok() || !is_first_of(*first, room->source->request(), options_.vocab_size) ||
        notice.computed != prompt) {
      room->wrong = first.is_ok()
                        ? corrupt(fmt::format("a first token that cannot be, or its log probabilities: {} of a "
                                              "vocabulary of {}",
                                              fmt::join(first->tokens, ", "), options_.vocab_size))
                        : first.status();
      return room->over.wake();
    }
    room->first = std::move(first).value();
  }
  received_blocks_.Increment(end - notice.first_block);
  room->landed[notice.first_block] = notice.computed;
  const uint32_t before = room->next_block;
  uint32_t tokens = 0;
  for (auto next = room->landed.begin(); next != room->landed.end() && next->first == room->next_block;
       next = room->landed.erase(next)) {
    tokens = next->second;
    room->next_block = (tokens + options_.block_tokens - 1) / options_.block_tokens;
  }
  if (room->next_block == room->blocks.size() && room->first) {
    complete(room.get());
  } else if (room->next_block > before) {
    engine_->received(room->id, room->attempt, tokens);
  }
}

DecodeSide::DecodeSide(DecodeSideOptions options, engine::Engine* engine, BlockMover* mover, PrefillPeers* peers,
                       asio::any_io_executor executor, const Clock* clock, Metrics* metrics, const MetricLabels& labels)
    : rooms_(std::make_shared<Rooms>(options, engine, mover, peers, std::move(executor), clock, metrics, labels)) {
  CHECK(options.vocab_size > 0);
  mover->on_notice([rooms = rooms_](std::string notice) { rooms->on_notice(std::move(notice)); });
}
DecodeSide::~DecodeSide() {
  rooms_->stop();
}
std::shared_ptr<engine::BlockSource> DecodeSide::source_of(const GenerateRequest& request) {
  if (request.prefill_at.empty()) return nullptr;
  return std::make_shared<Source>(rooms_, request);
}
size_t DecodeSide::in_flight() const {
  return rooms_->in_flight();
}

}  // namespace dynamo::handoff
