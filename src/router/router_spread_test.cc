// Many requests at once, on a clock of our own: who gets them, and how long all of them take. Workers batch as an
// engine does, with a limit of sequences, a prefix cache, and the step times of the mocker's default profile; the
// router hears of them what it would.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>

#include <list>
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/testing/fake_clock.h"
#include "router/router.h"
#include "wire/bus_messages.h"

namespace dynamo::router {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::UnorderedElementsAre;

constexpr uint32_t kBlock = 16;
constexpr uint32_t kStepTokens = 512;

struct World {
  FakeClock clock;
  boost::asio::io_context io{1};

  void spawn(Task<void> task) {
    boost::asio::co_spawn(io, std::move(task), [](std::exception_ptr failure) { CHECK(failure == nullptr); });
  }
  Task<void> sleep(Duration time) {
    Timer timer(&clock, co_await boost::asio::this_coro::executor);
    const Time until = clock.now() + time;
    co_await timer.wait(until);
  }
  void run() {
    do {
      io.restart();
      while (io.poll() > 0) {
      }
    } while (clock.advance_to_next());
  }
};

// One request at a worker. It ends with its Generation.
struct Sequence {
  Sequence(const Clock* clock, const boost::asio::any_io_executor& executor) : changed(clock, executor) {}
  GenerateRequest request;
  std::vector<kv::BlockHash> chain;
  bool is_running = false;
  uint64_t uncached = 0;  // of the prompt
  uint32_t drawn = 0;
  uint32_t taken = 0;
  Timer changed;
};

class BatchingWorker final : public Generator {
 public:
  BatchingWorker(World* world, uint64_t instance, uint32_t places)
      : world_(world), instance_(instance), places_(places), wake_(&world->clock, world->io.get_executor()) {}

  void serve(Router* router) {
    router_ = router;
    world_->spawn(step_on());
  }

  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) override {
    auto sequence = std::make_shared<Sequence>(&world_->clock, co_await boost::asio::this_coro::executor);
    sequence->chain = kv::hash_chain(request.prompt, kBlock);
    sequence->request = std::move(request);
    sequences_.push_back(sequence);
    ++requests;
    wake_.wake();
    co_return std::unique_ptr<Generation>(std::make_unique<Answer>(this, std::move(sequence)));
  }
  size_t running() const {
    return static_cast<size_t>(std::ranges::count_if(sequences_, [](const auto& one) { return one->is_running; }));
  }

  void stop() {
    is_over_ = true;
    wake_.wake();
  }

  size_t requests = 0;

 private:
  class Answer final : public Generation {
   public:
    Answer(BatchingWorker* worker, std::shared_ptr<Sequence> sequence)
        : worker_(worker), sequence_(std::move(sequence)) {}
    ~Answer() override { worker_->sequences_.remove(sequence_); }
    Task<Result<TokenChunk>> next() override {
      while (sequence_->taken == sequence_->drawn) co_await sequence_->changed.wait(Time::max());
      TokenChunk chunk;
      for (; sequence_->taken < sequence_->drawn; ++sequence_->taken) chunk.tokens.push_back(1);
      if (sequence_->drawn == sequence_->request.stop.max_tokens) chunk.finish = FinishReason::kLength;
      co_return chunk;
    }

   private:
    BatchingWorker* worker_;
    std::shared_ptr<Sequence> sequence_;
  };

  // What is being computed by another is waited for.
  bool admit(Sequence* one) {
    size_t cached = 0;
    while (cached < one->chain.size() && cache_.contains(one->chain[cached].bits)) ++cached;
    if (cached < one->chain.size() && computing_.contains(one->chain[cached].bits)) return false;
    for (size_t i = cached; i < one->chain.size(); ++i) computing_.insert(one->chain[i].bits);
    one->is_running = true;
    one->uncached = std::max<uint64_t>(one->request.prompt.size() - cached * kBlock, 1);
    return true;
  }

  Task<void> step_on() {
    while (!is_over_) {
      if (sequences_.empty()) {
        co_await wake_.wait(Time::max());
        continue;
      }
      uint64_t budget = kStepTokens;
      double microseconds_taken = 4000;
      std::map<std::shared_ptr<Sequence>, uint64_t> step;
      const auto take = [&](const std::shared_ptr<Sequence>& one) {
        step[one] = std::min<uint64_t>(budget, std::max<uint64_t>(one->uncached, 1));
        budget -= step[one];
        microseconds_taken += one->uncached > 0 ? 50.0 * static_cast<double>(step[one])
                                                : 50.0 + 0.01 * static_cast<double>(one->request.prompt.size());
      };
      for (const auto& one : sequences_)
        if (one->is_running && budget > 0) take(one);
      for (const auto& one : sequences_)
        if (!one->is_running && budget > 0 && running() < places_ && admit(one.get())) take(one);
      const auto time = microseconds(static_cast<int64_t>(microseconds_taken));
      co_await world_->sleep(time);
      for (const auto& [one, tokens] : step) finish_step(one.get(), tokens);
    }
  }

  void finish_step(Sequence* one, uint64_t tokens) {
    if (one->uncached > 0) {
      one->uncached -= std::min(tokens, one->uncached);
      if (one->uncached > 0) return;
      wire::KvEvents events;
      events.instance = instance_;
      events.first_event = ++last_event_;
      wire::KvChange& change = events.changes.emplace_back();
      for (const kv::BlockHash& block : one->chain) {
        computing_.erase(block.bits);
        if (cache_.insert(block.bits).second) change.stored.push_back(block);
      }
      router_->on_events(instance_, wire::to_bytes(events));
    }
    ++one->drawn;
    if (one->drawn == one->request.stop.max_tokens) one->is_running = false;
    one->changed.wake();
  }

  World* world_;
  const uint64_t instance_;
  const uint32_t places_;
  Timer wake_;
  Router* router_ = nullptr;
  std::list<std::shared_ptr<Sequence>> sequences_;  // in the order of their arrival
  std::set<uint64_t> cache_;
  std::set<uint64_t> computing_;
  uint64_t last_event_ = 0;
  bool is_over_ = false;
};

struct Burst {
  uint32_t places = 64;  // of each worker
  uint32_t requests = 64;
  uint32_t prefix_tokens = 1600;  // that all prompts begin with
  Duration apart = Duration(0);   // one request and the next
  RouterSettings settings = {};
};

struct Outcome {
  std::vector<size_t> requests;  // by worker
  Duration makespan{};
};

// All of them at four workers of which one has the prefix.
Outcome run(Mode mode, const Burst& burst) {
  World world;
  Metrics metrics;
  RouterOptions options;
  options.mode = mode;
  options.block_tokens = kBlock;
  options.settings = burst.settings;
  options.seed = 1;
  const auto router = Router::create(options, {}, &metrics, "m", &world.clock);
  std::vector<std::shared_ptr<BatchingWorker>> workers;
  for (uint64_t instance = 1; instance <= 4; ++instance) {
    workers.push_back(std::make_shared<BatchingWorker>(&world, instance, burst.places));
    RoutedWorker worker;
    worker.instance = instance;
    worker.name = fmt::format("worker-{}", instance);
    worker.generator = workers.back();
    worker.total_blocks = 8192;
    worker.max_sequences = burst.places;
    worker.has_events = true;
    CHECK(router->add_worker(std::move(worker)).is_ok());
    router->on_snapshot(instance, 0, {});
    workers.back()->serve(router.get());
  }
  uint32_t answered = 0;
  Time last{};
  const auto ask = [&](uint32_t number, uint32_t max_tokens, Duration after) -> Task<void> {
    return [](World* in, Router* to, const Burst* of, uint32_t id, uint32_t tokens, Duration wait, uint32_t* done,
              Time* ended) -> Task<void> {
      co_await in->sleep(wait);
      GenerateRequest request;
      request.id = fmt::format("r{}", id);
      for (uint32_t i = 0; i < of->prefix_tokens; ++i) request.prompt.tokens.push_back(i);
      for (uint32_t i = 0; i < kBlock; ++i) request.prompt.tokens.push_back(10'000 + id * kBlock + i);
      request.stop.max_tokens = tokens;
      request.sampling.temperature = 0;
      auto generation = co_await to->generate(std::move(request));
      CHECK_OK(generation);
      for (;;) {
        auto chunk = co_await (*generation)->next();
        CHECK_OK(chunk);
        if (chunk->finish) break;
      }
      ++*done;
      *ended = in->clock.now();
    }(&world, router.get(), &burst, number, max_tokens, after, &answered, &last);
  };
  world.spawn(ask(0, 2, Duration(0)));
  world.run();
  for (const auto& worker : workers) worker->requests = 0;
  const Time began = world.clock.now();
  for (uint32_t i = 1; i <= burst.requests; ++i) world.spawn(ask(i, 60, burst.apart * i));
  world.run();
  CHECK(answered == burst.requests + 1);
  Outcome outcome;
  outcome.makespan = last - began;
  for (const auto& worker : workers) {
    outcome.requests.push_back(worker->requests);
    worker->stop();
  }
  world.run();
  return outcome;
}

class OnePrefix : public testing::TestWithParam<Burst> {};

TEST_P(OnePrefix, IsNoReasonToKeepAllRequestsAtTheWorkerThatHasIt) {
  const Outcome kv = run(Mode::kKv, GetParam());
  const Outcome in_turn = run(Mode::kRoundRobin, GetParam());
  EXPECT_THAT(kv.requests, Each(Gt(0U)));
  // Of requests that come one after the other the first ones stay where the prefix is, so the others get it a few of
  // them later.
  const double late = GetParam().apart == Duration(0) ? 1 : 1.05;
  EXPECT_LE(static_cast<double>(kv.makespan.count()), late * static_cast<double>(in_turn.makespan.count()))
      << testing::PrintToString(kv.requests);
}

TEST(RouterSpread, AFullWorkersPlacesAreFilledEvenly) {
  const Outcome kv = run(Mode::kKv, {.places = 8, .requests = 64});
  EXPECT_THAT(kv.requests, ElementsAre(16, 16, 16, 16));
}

TEST(RouterSpread, FewRequestsStayWhereTheirPrefixIs) {
  const Outcome kv = run(Mode::kKv, {.places = 8, .requests = 4});
  EXPECT_THAT(kv.requests, UnorderedElementsAre(0, 0, 0, 4));
}

Burst weighing(double overlap_weight, Burst burst) {
  burst.settings.overlap_weight = overlap_weight;
  return burst;
}
Burst with_threshold(double busy_threshold, Burst burst) {
  burst.settings.busy_threshold = busy_threshold;
  return burst;
}

INSTANTIATE_TEST_SUITE_P(RouterSpread, OnePrefix,
                         testing::Values(Burst{}, Burst{.apart = milliseconds(1)}, Burst{.places = 8},
                                         Burst{.places = 8, .apart = milliseconds(1)}, Burst{.requests = 200},
                                         Burst{.requests = 200, .apart = milliseconds(1)},
                                         Burst{.places = 8, .requests = 32, .prefix_tokens = 400}, weighing(1, {}),
                                         weighing(1, {.places = 8}), with_threshold(0.5, {.places = 8})));

}  // namespace
}  // namespace dynamo::router
