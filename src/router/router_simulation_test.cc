// The router as it runs, on a clock of our own: workers that refuse, die, hang and come back, late snapshots, full
// queues, impatient clients. Thousands of seeds; the same seed always runs alike.
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/json/serialize.hpp>

#include <map>
#include <random>

#include <fmt/format.h>

#include "base/testing/fake_clock.h"
#include "kv/testing/narrow_hashes.h"
#include "router/router.h"
#include "wire/bus_messages.h"

namespace dynamo::router {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint32_t kBlock = 4;
constexpr Duration kGrace = seconds(1);  // after a deadline, in which a remote worker says that it is over

struct World {
  explicit World(uint64_t seed) : random(seed) {}
  uint64_t draw(uint64_t below) { return random() % below; }
  bool chance(double probability) { return static_cast<double>(random() % 1'000'000) < probability * 1e6; }
  Duration draw(Duration most) {
    return Duration(static_cast<Duration::rep>(random() % (static_cast<uint64_t>(most.count()) + 1)));
  }

  std::mt19937_64 random;
  FakeClock clock;
  boost::asio::io_context io{1};
};

// Answers token i of a prompt and what follows it with its place in the whole, so that a resumed answer shows where it
// went on.
class SimulatedWorker final : public Generator {
 public:
  SimulatedWorker(World* world, double trouble) : world_(world), trouble_(trouble) {}

  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) override {
    for (const PrefillPlace& place : request.prefill_at) CHECK(!place.address.empty());
    if (is_dead_) co_return unavailable("connection lost");
    if (world_->chance(trouble_)) co_return exhausted("its queue is full");
    co_return std::unique_ptr<Generation>(
        std::make_unique<Answer>(this, std::move(request), co_await boost::asio::this_coro::executor));
  }
  void die() {
    is_dead_ = true;
    for (const auto& [number, timer] : waiting_) timer->wake();
  }

 private:
  class Answer final : public Generation {
   public:
    Answer(SimulatedWorker* worker, GenerateRequest request, const boost::asio::any_io_executor& executor)
        : worker_(worker), request_(std::move(request)), timer_(&worker->world_->clock, executor) {
      worker_->waiting_[number_] = &timer_;
    }
    ~Answer() override { worker_->waiting_.erase(number_); }

    Task<Result<TokenChunk>> next() override {
      World& world = *worker_->world_;
      const bool hangs = world.chance(worker_->trouble_ / 20);
      const Time late = request_.deadline + kGrace;
      // As who reads from a remote worker gives it up.
      const Time silent = world.clock.now() + request_.silence_limit;
      co_await timer_.wait(hangs ? std::min(late, silent)
                                 : std::min(late, world.clock.now() + world.draw(milliseconds(60))));
      if (worker_->is_dead_ || world.chance(worker_->trouble_ / 20)) co_return unavailable("connection lost");
      if (hangs && silent < late) co_return unavailable("it says nothing");
      if (hangs || world.clock.now() > request_.deadline) co_return deadline("the request's time ran out");
      TokenChunk chunk;
      if (world.chance(0.2)) co_return chunk;  // a sign of life
      const uint32_t left = request_.stop.max_tokens - request_.drawn_before - drawn_;
      for (uint64_t count = std::min<uint64_t>(left, 1 + world.draw(3)); count > 0; --count)
        chunk.tokens.push_back(static_cast<TokenId>(request_.prompt.size() + drawn_++));
      if (chunk.tokens.size() == left) chunk.finish = FinishReason::kLength;
      co_return chunk;
    }

   private:
    SimulatedWorker* worker_;
    GenerateRequest request_;
    Timer timer_;
    uint32_t drawn_ = 0;
    const uint64_t number_ = ++worker_->last_answer_;
  };

  World* world_;
  const double trouble_;
  bool is_dead_ = false;
  uint64_t last_answer_ = 0;
  std::map<uint64_t, Timer*> waiting_;  // in the order of the answers, not of their addresses
};

struct Outcome {
  Status status;
  std::vector<TokenId> tokens;
  bool is_dropped = false;  // by its client
  Time ended{};
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : world_(seed) {
    trouble_ = world_.chance(0.3) ? 0 : 0.3;
    has_pools_ = world_.chance(0.5);
    RouterOptions options;
    options.mode = static_cast<Mode>(world_.draw(5));  // all but kDirect
    options.block_tokens = kBlock;
    options.seed = seed + 1;
    options.uses_events = world_.chance(0.7);
    options.max_queue = 1 + static_cast<uint32_t>(world_.draw(20));
    options.queue_timeout = milliseconds(100 + world_.draw(3000));
    options.silence_limit = milliseconds(100 + world_.draw(3000));
    if (world_.chance(0.5)) options.settings.busy_threshold = 0.2 + 0.1 * static_cast<double>(world_.draw(8));
    if (world_.chance(0.3)) options.settings.temperature = 0.5;
    if (world_.chance(0.3)) options.settings.max_local_prefill_length = std::nullopt;
    if (world_.chance(0.3)) options.settings.max_local_prefill_length = 20;
    RouterHooks hooks;
    hooks.fetch_snapshot = [this](uint64_t instance) { spawn(answer_fetch(instance)); };
    hooks.tell_routers = [this](const std::string& notice) { notices_ += notice.size(); };
    router_ = Router::create(options, std::move(hooks), &metrics_, "m", &world_.clock);
  }

  void run() {
    const uint64_t workers = 1 + world_.draw(5);
    for (uint64_t i = 0; i < workers; ++i) join();
    for (uint32_t i = 0; i < 40; ++i) spawn(one_request(i));
    for (uint32_t i = 0; i < 6; ++i) spawn(change_workers());
    settle();
    while (world_.clock.advance_to_next()) settle();
  }

  std::string trace() const {
    std::string trace;
    for (const auto& [id, outcome] : outcomes_)
      trace += fmt::format("{} {} {} {}\n", id, outcome.ended.time_since_epoch().count(), outcome.status.to_string(),
                           outcome.tokens.size());
    for (const auto& decision : router_->decisions(1000, "")) {
      boost::json::object one = to_json(*decision);
      one.erase("at");
      trace += boost::json::serialize(one) + "\n";
    }
    return trace;
  }

  void check() const {
    ASSERT_EQ(outcomes_.size(), requests_.size());
    for (const auto& [id, request] : requests_) {
      const Outcome& outcome = outcomes_.at(id);
      EXPECT_LE(outcome.ended, request.deadline + kGrace) << id << ": " << outcome.status.to_string();
      ASSERT_LE(outcome.tokens.size(), request.stop.max_tokens);
      for (size_t i = 0; i < outcome.tokens.size(); ++i)
        ASSERT_EQ(outcome.tokens[i], static_cast<TokenId>(request.prompt.size() + i)) << id;
      if (outcome.status.is_ok() && !outcome.is_dropped) {
        EXPECT_EQ(outcome.tokens.size(), request.stop.max_tokens);
      }
    }
    EXPECT_EQ(router_->in_flight(), 0U);
    for (const WorkerView& one : router_->view()) {
      EXPECT_EQ(one.active_requests, 0U);
      EXPECT_EQ(one.queued_tokens, 0U);
      EXPECT_EQ(one.active_blocks, 0U);
    }
  }

  const std::map<uint32_t, Outcome>& outcomes() const { return outcomes_; }

 private:
  void spawn(Task<void> task) {
    boost::asio::co_spawn(world_.io, std::move(task), [](std::exception_ptr failure) { CHECK(failure == nullptr); });
  }
  void settle() {
    world_.io.restart();
    while (world_.io.poll() > 0) {
    }
  }
  Task<void> sleep(Duration time) {
    Timer timer(&world_.clock, co_await boost::asio::this_coro::executor);
    const Time until = world_.clock.now() + time;
    co_await timer.wait(until);
  }

  void join() {
    RoutedWorker worker;
    worker.instance = ++last_instance_;
    worker.name = fmt::format("worker-{}", worker.instance);
    auto simulated = std::make_shared<SimulatedWorker>(&world_, trouble_);
    workers_[worker.instance] = simulated;
    worker.generator = simulated;
    worker.total_blocks = 20 + static_cast<uint32_t>(world_.draw(100));
    worker.has_events = world_.chance(0.7);
    if (has_pools_) {
      worker.serves = std::array{Serves::kBoth, Serves::kPrefill, Serves::kDecode, Serves::kDecode}[world_.draw(4)];
      worker.address = fmt::format("host:{}", worker.instance);
    }
    CHECK(router_->add_worker(std::move(worker)).is_ok());
  }

  // One that dies may stay known for a while, as one does until its lease ends.
  Task<void> change_workers() {
    const Duration wait = world_.draw(seconds(6));
    co_await sleep(wait);
    if (world_.chance(0.5) || workers_.empty()) {
      join();
      co_return;
    }
    const auto chosen = std::next(workers_.begin(), static_cast<ptrdiff_t>(world_.draw(workers_.size())));
    const uint64_t instance = chosen->first;
    const auto worker = chosen->second;
    workers_.erase(chosen);
    worker->die();
    const Duration known = world_.draw(seconds(2));
    co_await sleep(known);
    router_->remove_worker(instance);
  }

  Task<void> answer_fetch(uint64_t instance) {
    const Duration wait = world_.draw(milliseconds(300));
    co_await sleep(wait);
    if (!workers_.contains(instance) || world_.chance(0.2)) {
      router_->on_no_snapshot(instance, unavailable("gone"));
      const Duration pause = world_.draw(milliseconds(500));
      co_await sleep(pause);
      wire::Heartbeat heartbeat;
      heartbeat.instance = instance;
      heartbeat.used_blocks = static_cast<uint32_t>(world_.draw(60));
      if (workers_.contains(instance)) router_->on_heartbeat(instance, wire::to_bytes(heartbeat));  // asks again
      co_return;
    }
    const auto chain = kv::hash_chain({prompt_of(0, 80)}, kBlock);
    router_->on_snapshot(instance, 1, std::span(chain).first(world_.draw(chain.size() + 1)));
  }

  // One of four conversations.
  static std::vector<TokenId> prompt_of(uint64_t family, size_t tokens) {
    std::vector<TokenId> prompt;
    for (size_t i = 0; i < tokens; ++i) prompt.push_back(static_cast<TokenId>(i < 16 ? i : family * 1000 + i));
    return prompt;
  }

  Task<void> one_request(uint32_t id) {
    GenerateRequest request;
    request.id = fmt::format("r{}", id);
    const uint64_t family = world_.draw(4);
    request.prompt.tokens = prompt_of(family, 1 + world_.draw(80));
    request.stop.max_tokens = 1 + static_cast<uint32_t>(world_.draw(30));
    request.priority = static_cast<int32_t>(world_.draw(3));
    const Duration arrival = world_.draw(seconds(5));
    co_await sleep(arrival);
    request.deadline = world_.clock.now() + milliseconds(200) + world_.draw(seconds(5));
    if (world_.chance(0.05)) request.routing.instance = 1 + world_.draw(last_instance_);
    const uint64_t drop_after = world_.chance(0.1) ? world_.draw(20) : UINT64_MAX;
    requests_[id] = request;
    Outcome& outcome = outcomes_[id];
    outcome.status = co_await read(request, drop_after, &outcome);
    outcome.ended = world_.clock.now();
  }

  Task<Status> read(GenerateRequest request, uint64_t drop_after, Outcome* outcome) {
    auto generation = co_await router_->generate(std::move(request));
    if (!generation.is_ok()) co_return generation.status();
    for (;;) {
      if (outcome->tokens.size() >= drop_after) {
        outcome->is_dropped = true;
        co_return Status();
      }
      auto chunk = co_await (*generation)->next();
      if (!chunk.is_ok()) co_return chunk.status();
      CHECK(!chunk->is_sign_of_life());
      outcome->tokens.insert(outcome->tokens.end(), chunk->tokens.begin(), chunk->tokens.end());
      if (chunk->finish) co_return Status();
    }
  }

  World world_;
  double trouble_ = 0;
  bool has_pools_ = false;  // prefill and decode workers, beside aggregated ones
  Metrics metrics_;
  std::shared_ptr<Router> router_;
  std::map<uint64_t, std::shared_ptr<SimulatedWorker>> workers_;  // alive, by instance
  std::map<uint32_t, GenerateRequest> requests_;
  std::map<uint32_t, Outcome> outcomes_;
  uint64_t last_instance_ = 0;
  size_t notices_ = 0;
};

TEST(RouterSimulation, EveryRequestEndsInTimeAndNothingStaysBooked) {
  std::map<Code, size_t> ends;
  size_t answered = 0;
  for (uint64_t seed = 1; seed <= 2000 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Simulation simulation(seed);
    simulation.run();
    simulation.check();
    for (const auto& [id, outcome] : simulation.outcomes()) {
      ++ends[outcome.status.code()];
      answered += outcome.status.is_ok() && !outcome.is_dropped;
    }
  }
  // The worlds are neither too kind nor too harsh for this to mean something.
  EXPECT_GT(answered, 20'000U);
  for (const Code code : {Code::kExhausted, Code::kUnavailable, Code::kDeadline, Code::kNotFound})
    EXPECT_GT(ends[code], 100U) << static_cast<int>(code);
}

// As if clients had chosen their tokens so that blocks of different prompts, and of the same one, collide.
TEST(RouterSimulation, BlocksThatCollideDelayNothingAndLeaveNothingBooked) {
  for (const int bits : {1, 3}) {
    const kv::NarrowHashes narrow(bits);
    for (uint64_t seed = 1; seed <= 600 && !testing::Test::HasFailure(); ++seed) {
      SCOPED_TRACE(fmt::format("{} bits, seed {}", bits, seed));
      Simulation simulation(seed);
      simulation.run();
      simulation.check();
    }
  }
}

TEST(RouterSimulation, TheSameSeedRunsAlike) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Simulation one(seed);
    Simulation other(seed);
    one.run();
    other.run();
    ASSERT_TRUE(one.trace() == other.trace()) << "seed " << seed;  // megabytes: not to be printed
  }
}

}  // namespace
}  // namespace dynamo::router
