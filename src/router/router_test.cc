#include "router/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/serialize.hpp>

#include <array>
#include <cmath>
#include <map>
#include <random>

#include "base/testing/fake_clock.h"
#include "generate/testing/scripted_generator.h"
#include "router/metrics.h"
#include "router/policies/library.h"
#include "wire/bus_messages.h"

namespace dynamo::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Answer = ScriptedGenerator::Answer;

constexpr uint32_t kBlock = 4;

// Token i of every answer is what comes after the prompt and i tokens: its length. So a resumed answer shows where it
// went on.
Answer counting(const GenerateRequest& request, uint32_t chunks_until_failure = UINT32_MAX, Status failure = {}) {
  Answer answer;
  const uint32_t left = request.stop.max_tokens - request.drawn_before;
  for (uint32_t i = 0; i < left && i < chunks_until_failure; ++i) {
    TokenChunk chunk;
    chunk.tokens = {static_cast<TokenId>(request.prompt.size() + i)};
    chunk.cached_tokens = 8;
    if (i + 1 == left) chunk.finish = FinishReason::kLength;
    answer.chunks.push_back(std::move(chunk));
  }
  if (chunks_until_failure < left) answer.failure = std::move(failure);
  return answer;
}
Answer refuse(Status status) {
  Answer answer;
  answer.refusal = std::move(status);
  return answer;
}

class RouterTest : public testing::Test {
 protected:
  void start(RouterOptions options) {
    options.block_tokens = kBlock;
    RouterHooks hooks;
    hooks.fetch_snapshot = [this](uint64_t instance) { fetched_.push_back(instance); };
    hooks.tell_routers = [this](const std::string& notice) { notices_.push_back(notice); };
    router_ = Router::create(std::move(options), std::move(hooks), &metrics_, "m", &clock_);
  }
  void start(Mode mode) {
    RouterOptions options;
    options.mode = mode;
    start(options);
  }
  // Instance i is worker-i, or prefill-worker-i.
  ScriptedGenerator* add(uint64_t instance, std::function<Answer(const GenerateRequest&)> script = nullptr,
                         bool has_events = false, Serves serves = Serves::kBoth, uint32_t max_sequences = 0) {
    if (!script) script = [](const GenerateRequest& request) { return counting(request); };
    auto generator = std::make_shared<ScriptedGenerator>(std::move(script));
    RoutedWorker worker;
    worker.instance = instance;
    worker.name = fmt::format("{}worker-{}",
                              serves == Serves::kPrefill  ? "prefill-"
                              : serves == Serves::kDecode ? "decode-"
                                                          : "",
                              instance);
    worker.serves = serves;
    worker.address = fmt::format("host-{}:1", instance);
    worker.generator = generator;
    worker.total_blocks = 100;
    worker.vocab_size = vocab_size_;
    worker.has_events = has_events;
    worker.max_sequences = max_sequences;
    EXPECT_TRUE(router_->add_worker(std::move(worker)).is_ok());
    return generator.get();
  }
  // Runs it to its end; when nothing happens any more the clock moves to the next time that something waits for.
  template <class T>
  T run(Task<T> task) {
    std::optional<T> out;
    boost::asio::io_context io(1);
    boost::asio::co_spawn(io, std::move(task), [&](std::exception_ptr failure, T result) {
      CHECK(failure == nullptr);
      out = std::move(result);
    });
    while (!out) {
      io.restart();
      if (io.poll() == 0) CHECK(clock_.advance_to_next());
    }
    return std::move(*out);
  }
  static GenerateRequest request(uint32_t prompt_tokens, uint32_t max_tokens = 4, TokenId first_token = 0) {
    GenerateRequest request;
    request.id = "r1";
    for (uint32_t i = 0; i < prompt_tokens; ++i) request.prompt.tokens.push_back(first_token + i);
    request.stop.max_tokens = max_tokens;
    request.sampling.temperature = 0;
    return request;
  }
  boost::json::array explain(size_t last, std::string_view request_id) const {
    boost::json::array all;
    for (const auto& one : router_->decisions(last, request_id)) all.push_back(to_json(*one));
    return all;
  }
  // Where the prompt of a request that ran through was computed, as explained; empty: it was not asked.
  std::string place_of_prompt(GenerateRequest one) {
    ask(std::move(one));
    const auto latest = explain(1, "").at(0).as_object();
    return latest.contains("prefill") ? latest.at("prefill").as_string().c_str() : "";
  }
  void beat(uint64_t instance, double prefill_rate, double transfer_rate = 0, uint64_t queued_tokens = 0) {
    wire::Heartbeat heartbeat;
    heartbeat.instance = instance;
    heartbeat.prefill_tokens_per_second = prefill_rate;
    heartbeat.transfer_tokens_per_second = transfer_rate;
    heartbeat.queued_tokens = queued_tokens;
    router_->on_heartbeat(heartbeat.instance, wire::to_bytes(heartbeat));
  }
  // With --max-local-prefill-length auto: prefill worker 1 and decode worker 3, both of these rates.
  void start_auto(double rate) {
    RouterOptions options;
    options.mode = Mode::kKv;
    options.settings.max_local_prefill_length.reset();
    start(options);
    add(1, nullptr, /*has_events=*/false, Serves::kPrefill);
    add(3, nullptr, /*has_events=*/false, Serves::kDecode);
    beat(1, rate, 50 * rate);
    beat(3, rate);
  }
  // Sends a request and keeps its answer unread in `held`.
  void hold(boost::asio::io_context* io, GenerateRequest one, std::unique_ptr<Generation>* held) {
    boost::asio::co_spawn(
        *io,
        [](Router* router, GenerateRequest sent, std::unique_ptr<Generation>* out) -> Task<void> {
          auto generation = co_await router->generate(std::move(sent));
          *out = std::move(generation).value();
        }(router_.get(), std::move(one), held),
        [](std::exception_ptr) {});
    io->poll();
  }
  struct Said {
    Status status;
    std::vector<TokenId> tokens;
    std::string worker;
    uint32_t cached = 0;
  };
  static Task<Said> read(Router* router, GenerateRequest request) {
    Said said;
    auto generation = co_await router->generate(std::move(request));
    if (!generation.is_ok()) {
      said.status = generation.status();
      co_return said;
    }
    for (;;) {
      auto chunk = co_await (*generation)->next();
      if (!chunk.is_ok()) {
        said.status = chunk.status();
        co_return said;
      }
      said.tokens.insert(said.tokens.end(), chunk->tokens.begin(), chunk->tokens.end());
      if (!chunk->worker.empty()) said.worker = chunk->worker;
      said.cached = chunk->cached_tokens;
      if (chunk->finish) co_return said;
    }
  }
  Said ask(GenerateRequest request) { return run(read(router_.get(), std::move(request))); }
  std::string worker_for(GenerateRequest request) { return ask(std::move(request)).worker; }

  static std::string events(uint64_t instance, uint64_t first, const std::vector<kv::BlockHash>& stored) {
    wire::KvEvents message;
    message.instance = instance;
    message.first_event = first;
    message.changes.push_back({.stored = std::move(stored)});
    return wire::to_bytes(message);
  }
  static std::vector<kv::BlockHash> chain(uint32_t tokens) { return kv::hash_chain(request(tokens).prompt, kBlock); }

  FakeClock clock_;
  Metrics metrics_;
  uint32_t vocab_size_ = 0;  // of the workers
  std::vector<uint64_t> fetched_;
  std::vector<std::string> notices_;
  std::shared_ptr<Router> router_;
};

TEST_F(RouterTest, RoundRobinTakesEveryWorkerInTurn) {
  start(Mode::kRoundRobin);
  for (uint64_t i : {1, 2, 3}) add(i);
  std::vector<std::string> workers;
  for (int i = 0; i < 4; ++i) workers.push_back(worker_for(request(8)));
  EXPECT_THAT(workers, ElementsAre("worker-1", "worker-2", "worker-3", "worker-1"));
  router_->remove_worker(2);
  EXPECT_EQ(worker_for(request(8)), "worker-3");
}

TEST_F(RouterTest, RandomSpreadsEvenly) {
  start(Mode::kRandom);
  for (uint64_t i : {1, 2, 3, 4}) add(i);
  std::map<std::string, int> counts;
  for (int i = 0; i < 2000; ++i) ++counts[worker_for(request(8, 1))];
  for (const auto& [worker, count] : counts) EXPECT_NEAR(count, 500, 100) << worker;
}

TEST_F(RouterTest, DirectNeedsAndObeysTheRequestsWord) {
  start(Mode::kDirect);
  add(1);
  add(2);
  GenerateRequest named = request(8);
  named.routing.instance = 2;
  EXPECT_EQ(worker_for(named), "worker-2");
  named.routing.instance = 7;
  EXPECT_EQ(ask(named).status.code(), Code::kNotFound);
  EXPECT_EQ(ask(request(8)).status.code(), Code::kInvalid);
}

TEST_F(RouterTest, KvPrefersTheWorkerThatHoldsMostOfThePrompt) {
  start(Mode::kKv);
  add(1, nullptr, /*has_events=*/true);
  add(2, nullptr, true);
  EXPECT_THAT(fetched_, ElementsAre(1, 2));
  EXPECT_EQ(ask(request(40)).status.code(), Code::kUnavailable);  // nobody's blocks are known yet
  router_->on_snapshot(1, 0, {});
  router_->on_snapshot(2, 0, {});
  router_->on_events(2, events(2, 1, chain(24)));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(worker_for(request(40)), "worker-2");
  router_->on_events(1, events(1, 1, chain(40)));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(worker_for(request(40)), "worker-1");
  const auto explained = explain(1, "");
  const std::string text = boost::json::serialize(explained);
  EXPECT_THAT(text, HasSubstr(R"("worker":"worker-1","overlap_blocks":10,"prefill_blocks":0E0,"decode_blocks":1E1)"));
  EXPECT_THAT(text, HasSubstr(R"("worker":"worker-2","overlap_blocks":6,"prefill_blocks":4E0,"decode_blocks":1E1)"));
  EXPECT_THAT(text, HasSubstr(R"("chosen":"worker-1")"));
}

TEST_F(RouterTest, ALowerTierGoesOnWhereTheDeviceEndsAndIsShownWhereItHasBlocks) {
  start(Mode::kKv);
  add(1, nullptr, /*has_events=*/true);
  add(2, nullptr, true);
  BlocksByTier lower;
  const auto prompt = chain(40);
  lower[kv::Tier::kHost].assign(prompt.begin() + 2, prompt.begin() + 7);  // 4 beyond the device
  lower[kv::Tier::kDisk].assign(prompt.begin() + 8, prompt.end());        // a gap before it
  router_->on_snapshot(1, 1, std::span(prompt).first(3), lower);
  router_->on_snapshot(2, 1, std::span(prompt).first(4));
  EXPECT_EQ(worker_for(request(40)), "worker-1") << "3 blocks and 4 on the host are more than 4";
  const std::string text = boost::json::serialize(explain(1, ""));
  EXPECT_THAT(text, HasSubstr(R"("worker":"worker-1","overlap_blocks":3,"prefill_blocks":4E0,)"));
  EXPECT_THAT(text, HasSubstr(R"("active_requests":0,"overlap_host_blocks":4})"));
  EXPECT_THAT(text, HasSubstr(R"("worker":"worker-2","overlap_blocks":4,"prefill_blocks":6E0,)"));
  EXPECT_THAT(text, testing::Not(HasSubstr("disk")));
  router_->remove_worker(1);
  EXPECT_EQ(worker_for(request(40)), "worker-2");
}

TEST_F(RouterTest, KvWeighsLoadAgainstOverlap) {
  start(Mode::kKv);
  add(1);
  add(2);
  const auto held = run([](Router* router) -> Task<std::unique_ptr<Generation>> {
    GenerateRequest long_one = request(400);
    auto generation = co_await router->generate(std::move(long_one));
    CHECK_OK(generation);
    co_return std::move(generation).value();
  }(router_.get()));
  const auto busy = router_->view();
  const std::string other = busy[0].active_requests == 1 ? "worker-2" : "worker-1";
  EXPECT_EQ(busy[0].queued_tokens + busy[1].queued_tokens, 400U);
  EXPECT_EQ(busy[0].active_blocks + busy[1].active_blocks, 100U);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(worker_for(request(8)), other);
}

TEST_F(RouterTest, ATemperatureSpreadsAndARequestMayBringItsOwn) {
  start(Mode::kKv);
  add(1, nullptr, true);
  add(2, nullptr, true);
  router_->on_snapshot(1, 1, chain(40));
  router_->on_snapshot(2, 0, {});
  std::map<std::string, int> counts;
  for (int i = 0; i < 400; ++i) {
    GenerateRequest warm = request(40, 1);
    warm.routing.temperature = 1.0;
    ++counts[worker_for(std::move(warm))];
  }
  EXPECT_NEAR(counts["worker-2"], 400 / (1 + std::exp(1.0)), 45);
  EXPECT_EQ(worker_for(request(40)), "worker-1");
}

TEST_F(RouterTest, WithoutEventsSentBlocksCountAsHeldForAWhile) {
  RouterOptions options;
  options.mode = Mode::kKv;
  options.uses_events = false;
  options.guess_lifetime = std::chrono::seconds(120);
  start(options);
  for (uint64_t i : {1, 2, 3}) add(i, nullptr, true);
  const std::string first = worker_for(request(40));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(worker_for(request(40)), first);
  clock_.advance(std::chrono::seconds(121));
  worker_for(request(8));
  uint64_t known = 0;
  for (const WorkerView& one : router_->view()) known += one.cached_blocks;
  EXPECT_EQ(known, 2U);
}

TEST_F(RouterTest, AWorkerThatIsFullStoppingOrBrokenIsPassedOver) {
  for (const Status& refusal : {exhausted("full"), unavailable("stopping")}) {
    start(Mode::kRoundRobin);
    add(1, [=](const GenerateRequest&) { return refuse(refusal); });
    add(2, [=](const GenerateRequest& r) { return counting(r, 0, refusal); });
    add(3);
    EXPECT_EQ(worker_for(request(8)), "worker-3") << refusal.to_string();
    EXPECT_EQ(router_->in_flight(), 0U);
  }
}

TEST_F(RouterTest, ARequestThatFindsTwoWorkersBrokenGoesNoFurther) {
  for (const Status& failure : {internal("no numbers"), corrupt("unreadable")}) {
    for (const bool is_refused : {false, true}) {
      start(Mode::kRoundRobin);
      const auto script = [=](const GenerateRequest& r) {
        return is_refused ? refuse(failure) : counting(r, 2, failure);
      };
      std::vector<ScriptedGenerator*> workers;
      for (uint64_t i : {1, 2, 3, 4}) workers.push_back(add(i, script));
      EXPECT_EQ(ask(request(8, 10)).status.to_string(), failure.to_string());
      size_t asked = 0;
      for (const ScriptedGenerator* one : workers) asked += one->requests().size();
      EXPECT_EQ(asked, 2U);
      EXPECT_EQ(router_->in_flight(), 0U);
    }
  }
  // One that is broken, as by bad memory, is passed over; those that are away or full are not counted with it.
  start(Mode::kRoundRobin);
  add(1, [](const GenerateRequest& r) { return counting(r, 2, internal("no numbers")); });
  add(2, [](const GenerateRequest& r) { return counting(r, 2, unavailable("gone")); });
  add(3, [](const GenerateRequest&) { return refuse(exhausted("full")); });
  add(4);
  const Said said = ask(request(8, 10));
  EXPECT_TRUE(said.status.is_ok()) << said.status.to_string();
  EXPECT_EQ(said.tokens.size(), 10U);
}

TEST_F(RouterTest, AnErrorOfTheRequestInMidAnswerIsNoFailureOfTheWorker) {
  start(Mode::kRoundRobin);
  add(1, [](const GenerateRequest& r) { return counting(r, 3, invalid("no token is left to draw")); });
  auto* second = add(2);
  const Said said = ask(request(8, 10));
  EXPECT_EQ(said.status.code(), Code::kInvalid);
  EXPECT_EQ(said.tokens.size(), 3U);
  EXPECT_TRUE(second->requests().empty());
  const std::string text = metrics_.expose();
  for (const char* counter : {"dynamo_router_migrations_total{", "dynamo_router_refusals_total{"}) {
    for (size_t at = text.find(counter); at != std::string::npos; at = text.find(counter, at + 1))
      EXPECT_EQ(text.substr(text.find("} ", at), 4), "} 0\n") << text.substr(at, 100);
  }
}

TEST_F(RouterTest, ARequestThatIsWrongIsNotTriedElsewhere) {
  start(Mode::kRoundRobin);
  add(1, [](const GenerateRequest&) { return refuse(invalid("too long")); });
  auto* second = add(2);
  EXPECT_EQ(ask(request(8)).status.code(), Code::kInvalid);
  EXPECT_TRUE(second->requests().empty());
}

TEST_F(RouterTest, WhenNoWorkerTakesItTheLastRefusalIsTold) {
  start(Mode::kRoundRobin);
  EXPECT_THAT(ask(request(8)).status.text(), HasSubstr("no worker serves this model"));
  add(1, [](const GenerateRequest&) { return refuse(exhausted("queue full")); });
  add(2, [](const GenerateRequest&) { return refuse(exhausted("queue full")); });
  EXPECT_EQ(ask(request(8)).status.to_string(), exhausted("queue full").to_string());
}

TEST_F(RouterTest, AStreamThatBreaksGoesOnElsewhereAndEachTokenComesOnce) {
  start(Mode::kRoundRobin);
  auto* first = add(1, [](const GenerateRequest& r) { return counting(r, 3, unavailable("gone")); });
  auto* second = add(2, [](const GenerateRequest& r) { return counting(r, 2, unavailable("gone too")); });
  auto* third = add(3);
  const Said said = ask(request(8, 10));
  EXPECT_TRUE(said.status.is_ok()) << said.status.to_string();
  EXPECT_THAT(said.tokens, ElementsAre(8, 9, 10, 11, 12, 13, 14, 15, 16, 17));
  EXPECT_EQ(said.cached, 8U);
  EXPECT_EQ(first->requests().at(0).drawn_before, 0U);
  EXPECT_EQ(second->requests().at(0).drawn_before, 3U);
  EXPECT_EQ(second->requests().at(0).prompt.size(), 11U);
  EXPECT_EQ(third->requests().at(0).drawn_before, 5U);
  EXPECT_EQ(third->requests().at(0).stop.max_tokens, 10U);
  EXPECT_EQ(router_->in_flight(), 0U);
}

TEST_F(RouterTest, TheMigrationLimitEndsIt) {
  RouterOptions options;
  options.migration_limit = 2;
  start(options);
  for (uint64_t i : {1, 2, 3, 4, 5})
    add(i, [](const GenerateRequest& r) { return counting(r, 1, unavailable("gone")); });
  const Said said = ask(request(8, 10));
  EXPECT_EQ(said.status.code(), Code::kUnavailable);
  EXPECT_EQ(said.tokens.size(), 3U);
}

TEST_F(RouterTest, WorkersAreAskedForSignsOfLifeAndThoseAreNoAnswer) {
  RouterOptions options;
  options.silence_limit = std::chrono::milliseconds(20);
  start(options);
  auto* first = add(1, [](const GenerateRequest& r) {
    Answer answer = counting(r, 0, unavailable("fell silent"));
    answer.chunks.resize(3);  // signs of life
    return answer;
  });
  auto* second = add(2, [](const GenerateRequest& r) {
    Answer answer = counting(r);
    for (size_t i = 0; i < answer.chunks.size(); i += 3) answer.chunks.insert(answer.chunks.begin() + i, 2, {});
    return answer;
  });
  EXPECT_EQ(first->requests().size(), 0U);
  boost::asio::io_context io(1);
  std::unique_ptr<Generation> held;
  GenerateRequest one = request(8, 3);
  one.silence_limit = std::chrono::hours(1);  // is the router's to say
  hold(&io, std::move(one), &held);
  ASSERT_TRUE(held);
  for (uint32_t i = 0; i < 3; ++i) {
    const auto chunk =
        run([](Generation* of) -> Task<Result<TokenChunk>> { co_return co_await of->next(); }(held.get()));
    ASSERT_TRUE(chunk.is_ok());
    EXPECT_THAT(chunk->tokens, ElementsAre(8 + i));
    EXPECT_EQ(chunk->worker, i == 0 ? "worker-2" : "");
    EXPECT_EQ(chunk->cached_tokens, 8U);
  }
  EXPECT_EQ(first->requests().at(0).silence_limit, std::chrono::milliseconds(20));
  EXPECT_EQ(second->requests().at(0).silence_limit, std::chrono::milliseconds(20));
  EXPECT_THAT(metrics_.expose(), HasSubstr("dynamo_router_refusals_total{model=\"m\",worker=\"worker-1\"} 1"));
}

TEST_F(RouterTest, AClientThatLeavesBeforeTheFirstTokenIsNoFaultOfTheWorker) {
  start(Mode::kRoundRobin);
  auto* slow = add(1, [](const GenerateRequest& r) {
    Answer answer = counting(r);
    answer.hang_after = 0;
    return answer;
  });
  auto* other = add(2);
  boost::asio::io_context io(1);
  boost::asio::cancellation_signal leave;
  bool has_ended = false;
  boost::asio::co_spawn(
      io, read(router_.get(), request(8)),
      boost::asio::bind_cancellation_slot(leave.slot(), [&](std::exception_ptr, const Said&) { has_ended = true; }));
  io.poll();
  ASSERT_EQ(slow->requests().size(), 1U);
  leave.emit(boost::asio::cancellation_type::terminal);
  io.restart();
  io.poll();
  EXPECT_TRUE(has_ended);
  EXPECT_EQ(slow->cancelled(), 1);
  EXPECT_TRUE(other->requests().empty());
  EXPECT_EQ(router_->in_flight(), 0U);
  EXPECT_THAT(metrics_.expose(), HasSubstr("dynamo_router_refusals_total{model=\"m\",worker=\"worker-1\"} 0"));
}

TEST_F(RouterTest, ASampledRequestGetsASeedSoThatItGoesOnAsTheSameText) {
  start(Mode::kRoundRobin);
  auto* first = add(1, [](const GenerateRequest& r) { return counting(r, 1, unavailable("gone")); });
  auto* second = add(2);
  GenerateRequest sampled = request(8);
  sampled.sampling.temperature = 1;
  EXPECT_TRUE(ask(sampled).status.is_ok());
  ASSERT_TRUE(first->requests().at(0).sampling.seed);
  EXPECT_EQ(first->requests().at(0).sampling.seed, second->requests().at(0).sampling.seed);
}

TEST_F(RouterTest, LoadReturnsToZeroHoweverARequestEnds) {
  start(Mode::kRoundRobin);
  int turn = 0;
  add(1, [&](const GenerateRequest& r) {
    switch (turn++ % 4) {
      case 0:
        return counting(r);
      case 1:
        return counting(r, 1, invalid("broken request"));
      case 2:
        return refuse(deadline("late"));
      default:
        return counting(r, 2, corrupt("garbage"));
    }
  });
  for (int i = 0; i < 8; ++i) ask(request(10 + i, 9));
  {
    // Dropped before its end.
    const auto held = run([](Router* router) -> Task<std::unique_ptr<Generation>> {
      GenerateRequest one = request(10);
      auto generation = co_await router->generate(std::move(one));
      co_return std::move(generation).value();
    }(router_.get()));
    EXPECT_EQ(router_->in_flight(), 1U);
    // Its worker goes while it runs.
    router_->remove_worker(1);
  }
  EXPECT_EQ(router_->in_flight(), 0U);
  add(1);
  const WorkerView view = router_->view().at(0);
  EXPECT_EQ(view.active_requests + view.active_blocks + view.queued_tokens, 0U);
}

TEST_F(RouterTest, BusyWorkersMakeRequestsWaitByPriorityAndABoundedLineRefuses) {
  RouterOptions options;
  options.settings.busy_threshold = 0.1;  // of 100 blocks
  options.max_queue = 2;
  options.queue_timeout = std::chrono::seconds(100);
  start(options);
  auto* worker = add(1);
  boost::asio::io_context io(1);
  const auto work = boost::asio::make_work_guard(io);
  std::unique_ptr<Generation> held;
  std::vector<std::string> ended;
  const auto spawn = [&](std::string id, int priority) {
    GenerateRequest one = request(8);
    one.id = id;
    one.priority = priority;
    boost::asio::co_spawn(io, read(router_.get(), std::move(one)), [&ended, id](std::exception_ptr, Said said) {
      ended.push_back(id + ":" + std::string(said.status.is_ok() ? "ok" : code_name(said.status.code())));
    });
    io.poll();
  };
  hold(&io, request(50), &held);
  ASSERT_TRUE(held);
  spawn("low", 0);
  spawn("high", 5);
  spawn("third", 9);
  EXPECT_THAT(ended, ElementsAre("third:exhausted"));
  held.reset();
  io.poll();
  EXPECT_THAT(ended, ElementsAre("third:exhausted", "high:ok", "low:ok"));
  EXPECT_EQ(worker->requests().size(), 3U);
}

RouterOptions with_library(const std::string& file, const std::string& config) {
  auto library = PolicyLibrary::open(DYNAMO_POLICIES "/" + file, config);
  CHECK_OK(library);
  RouterOptions options;
  options.mode = Mode::kKv;
  options.library = std::move(library).value();
  return options;
}

TEST_F(RouterTest, ALibrarysPolicyChoosesAndItsReasonIsShown) {
  start(with_library("libsticky_session.so", ""));
  add(1, nullptr, /*has_events=*/true);
  add(2, nullptr, true);
  router_->on_snapshot(1, 0, {});
  router_->on_snapshot(2, 0, {});
  router_->on_events(2, events(2, 1, chain(24)));
  EXPECT_EQ(worker_for(request(40)), "worker-2");
  const std::string text = boost::json::serialize(explain(1, ""));
  EXPECT_THAT(text, HasSubstr(R"("mode":"library")"));
  EXPECT_THAT(text, HasSubstr(R"("reason":"sticky_session/holds_the_conversation")"));
  EXPECT_THAT(metrics_.expose(), HasSubstr(R"(reason="sticky_session/holds_the_conversation",worker="worker-2"} 1)"));
  GenerateRequest named = request(40);
  named.routing.instance = 1;
  EXPECT_EQ(worker_for(named), "worker-1");
}

TEST_F(RouterTest, ARequestThatALibraryPutsOffWaitsForRoom) {
  start(with_library("libsticky_session.so", "limit=1"));
  add(1);
  boost::asio::io_context io(1);
  const auto work = boost::asio::make_work_guard(io);
  std::unique_ptr<Generation> held;
  hold(&io, request(8), &held);
  ASSERT_TRUE(held);
  std::optional<Said> second;
  boost::asio::co_spawn(io, read(router_.get(), request(8)),
                        [&](std::exception_ptr, Said said) { second = std::move(said); });
  io.poll();
  EXPECT_FALSE(second);
  held.reset();
  io.poll();
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->status.is_ok());
}

TEST_F(RouterTest, ALibrarysUnusableChoiceIsCountedAndTheModesPolicyDecides) {
  start(with_library("libmisbehaving.so", "index=2"));
  add(1);
  add(2);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(ask(request(8)).status.is_ok());
  EXPECT_THAT(boost::json::serialize(explain(1, "")), HasSubstr(R"("reason":"lowest_cost")"));
  EXPECT_EQ(RouterMetrics(&metrics_, "m").policy_faults->Value(), 3);
}

TEST_F(RouterTest, OfManyCandidatesTheCheapestAreRemembered) {
  start(Mode::kKv);
  constexpr uint64_t kWorkers = 100;
  boost::asio::io_context io(1);
  const auto work = boost::asio::make_work_guard(io);
  std::vector<std::unique_ptr<Generation>> held(kWorkers);
  for (uint64_t instance = kWorkers; instance >= 1; --instance) {
    add(instance);
    GenerateRequest one = request(static_cast<uint32_t>(instance * kBlock));
    one.routing.instance = instance;
    hold(&io, std::move(one), &held[instance - 1]);
  }
  ask(request(kBlock));
  const auto decision = explain(1, "").at(0).as_object();
  EXPECT_EQ(decision.at("candidates_total").to_number<size_t>(), 100U);
  EXPECT_EQ(decision.at("chosen").as_string(), "worker-1");
  std::vector<std::string> remembered;
  for (const auto& one : decision.at("candidates").as_array())
    remembered.emplace_back(one.as_object().at("worker").as_string());
  std::vector<std::string> cheapest;
  for (int i = 1; i <= 64; ++i) cheapest.push_back(fmt::format("worker-{}", i));
  EXPECT_EQ(remembered, cheapest);
}

TEST_F(RouterTest, APromptGoesToOnePoolAndItsAnswerComesFromTheOther) {
  start(Mode::kKv);
  for (const uint64_t instance : {1, 2}) add(instance, nullptr, /*has_events=*/true, Serves::kPrefill);
  auto* three = add(3, nullptr, /*has_events=*/true, Serves::kDecode);
  auto* four = add(4, nullptr, /*has_events=*/true, Serves::kDecode);
  const auto prompt = chain(20);
  router_->on_snapshot(1, 1, {});
  router_->on_snapshot(2, 1, std::span(prompt).first(4));
  router_->on_snapshot(3, 1, {});
  router_->on_snapshot(4, 1, std::span(prompt).first(2));
  EXPECT_EQ(worker_for(request(20)), "decode-worker-4");
  EXPECT_TRUE(three->requests().empty());
  ASSERT_EQ(four->requests().size(), 1U);
  EXPECT_THAT(four->requests()[0].prefill_at, ElementsAre(PrefillPlace{2, "prefill-worker-2", "host-2:1"},
                                                          PrefillPlace{1, "prefill-worker-1", "host-1:1"}));
  const auto decisions = explain(2, "r1");
  ASSERT_EQ(decisions.size(), 2U);
  const auto& decode = decisions[0].as_object();
  EXPECT_EQ(decode.at("pool").as_string(), "decode");
  EXPECT_EQ(decode.at("chosen").as_string(), "decode-worker-4");
  EXPECT_EQ(decode.at("prefill").as_string(), "prefill-worker-2");
  const auto& prefill = decisions[1].as_object();
  EXPECT_EQ(prefill.at("pool").as_string(), "prefill");
  EXPECT_EQ(prefill.at("chosen").as_string(), "prefill-worker-2");
  EXPECT_EQ(prefill.at("candidates").as_array().size(), 2U);
  EXPECT_EQ(router_->in_flight(), 0U);
  EXPECT_EQ(router_->workers(), 4U);
  EXPECT_EQ(router_->answering_workers(), 2U);
}

TEST_F(RouterTest, APrefillWorkerIsBusyUntilTheFirstToken) {
  start(Mode::kKv);
  add(1, nullptr, /*has_events=*/false, Serves::kPrefill);
  add(2, nullptr, /*has_events=*/false, Serves::kPrefill);
  add(3, nullptr, /*has_events=*/false, Serves::kDecode);
  boost::asio::io_context io(1);
  const auto work = boost::asio::make_work_guard(io);
  std::vector<std::unique_ptr<Generation>> held(2);
  for (auto& one : held) hold(&io, request(20), &one);
  for (const WorkerView& one : router_->view()) {
    const bool is_prefill = one.name != "decode-worker-3";
    EXPECT_EQ(one.active_requests, is_prefill ? 1U : 2U) << one.name;
    EXPECT_EQ(one.queued_tokens, is_prefill ? 20U : 0U) << one.name;
  }
  boost::asio::co_spawn(
      io, [](Generation* one) -> Task<void> { co_await one->next(); }(held[0].get()), [](std::exception_ptr) {});
  io.poll();
  EXPECT_EQ(router_->in_flight(), 3U);
  held.clear();
  EXPECT_EQ(router_->in_flight(), 0U);
}

TEST_F(RouterTest, APromptIsComputedWhereItIsDecodedWhenThatIsBetter) {
  RouterOptions options;
  options.mode = Mode::kKv;
  options.settings.max_local_prefill_length = 10;
  start(options);
  auto* decode = add(3, nullptr, /*has_events=*/true, Serves::kDecode);
  const auto prompt = chain(20);
  router_->on_snapshot(3, 1, std::span(prompt).first(3));
  const auto where = [&](GenerateRequest one) {
    const std::string said = place_of_prompt(std::move(one));
    EXPECT_EQ(decode->requests().back().prefill_at.empty(), !said.starts_with("prefill-worker"));
    return said;
  };
  EXPECT_EQ(where(request(20)), "");
  add(1, nullptr, /*has_events=*/true, Serves::kPrefill);
  EXPECT_THAT(where(request(40)), HasSubstr("no prefill worker is ready"));  // its blocks are not known
  router_->on_snapshot(1, 1, {});
  EXPECT_THAT(where(request(20)), HasSubstr("8 tokens are not cached, at most 10"));
  EXPECT_EQ(where(request(23)), "prefill-worker-1");
  RouterSettings settings = router_->settings();
  settings.max_local_prefill_length = 0;
  router_->set(settings);
  EXPECT_EQ(where(request(13)), "prefill-worker-1");
  // By expected time: 28 tokens here at 100 a second, or 40 there at 1,000 and 28 moved at 10,000.
  settings.max_local_prefill_length.reset();
  router_->set(settings);
  EXPECT_EQ(where(request(40)), "prefill-worker-1");  // equal rates
  beat(3, 100);
  beat(1, 1000, 10'000);
  EXPECT_EQ(where(request(40)), "prefill-worker-1");
  beat(1, 1000, 10);
  EXPECT_EQ(where(request(40)), "here: expected to take 0.0986 of the time that prefill-worker-1 needs");
  beat(1, 50, 10'000);
  EXPECT_EQ(where(request(40)), "here: expected to take 0.349 of the time that prefill-worker-1 needs");
}

TEST_F(RouterTest, AutoKeepsAPromptWhereThePrefillQueueIsLongerThanIt) {
  start_auto(1000);
  boost::asio::io_context io(1);
  const auto work = boost::asio::make_work_guard(io);
  std::vector<std::unique_ptr<Generation>> held(2);
  EXPECT_EQ(place_of_prompt(request(100)), "prefill-worker-1");  // though it has to be moved
  hold(&io, request(50), &held[0]);
  EXPECT_EQ(place_of_prompt(request(100)), "prefill-worker-1");
  hold(&io, request(60, 4, /*first_token=*/1000), &held[1]);
  EXPECT_THAT(place_of_prompt(request(100)), HasSubstr("here: expected to take"));
  EXPECT_EQ(place_of_prompt(request(200)), "prefill-worker-1");
  held.clear();
  EXPECT_EQ(place_of_prompt(request(100)), "prefill-worker-1");
}

TEST_F(RouterTest, WithAutoWhatOthersSentThereCountsAsLongAsAHeartbeatSaysSo) {
  start_auto(1000);
  beat(1, 1000, 50'000, /*queued_tokens=*/500);
  EXPECT_THAT(place_of_prompt(request(100)), HasSubstr("here: expected to take"));
  clock_.advance(std::chrono::seconds(6));
  EXPECT_EQ(place_of_prompt(request(100)), "prefill-worker-1");
  // The heartbeat counts this router's own prompts too.
  boost::asio::io_context io(1);
  const auto work = boost::asio::make_work_guard(io);
  std::unique_ptr<Generation> held;
  hold(&io, request(90), &held);
  beat(1, 1000, 50'000, 95);
  EXPECT_EQ(place_of_prompt(request(100)), "prefill-worker-1");
  held.reset();
  beat(3, 1000, 0, 500);
  beat(1, 1000, 50'000, 500);
  EXPECT_EQ(place_of_prompt(request(100)), "prefill-worker-1");  // others' prompts wait here too
}

TEST_F(RouterTest, WhatARequestInFlightComputesIsNotComputedAgainForTheNext) {
  start(Mode::kKv);
  add(1);
  boost::asio::io_context io(1);
  const auto work = boost::asio::make_work_guard(io);
  std::vector<std::unique_ptr<Generation>> held(3);
  hold(&io, request(40), &held[0]);
  EXPECT_EQ(router_->view().at(0).queued_tokens, 40U);
  hold(&io, request(43), &held[1]);
  EXPECT_EQ(router_->view().at(0).queued_tokens, 43U);
  hold(&io, request(43, 4, /*first_token=*/1000), &held[2]);
  EXPECT_EQ(router_->view().at(0).queued_tokens, 86U);
}

TEST_F(RouterTest, OthersSequencesCountAsLongAsAHeartbeatSaysSo) {
  start(Mode::kKv);
  add(1);
  add(2);
  const auto sequences_at_1 = [&] {
    ask(request(8));
    const auto decisions = explain(1, "");
    for (const auto& one : decisions.at(0).at("candidates").as_array())
      if (one.at("worker").as_string() == "worker-1") return one.at("sequences").to_number<uint64_t>();
    return uint64_t{99};
  };
  wire::Heartbeat heartbeat;
  heartbeat.instance = 1;
  heartbeat.running = 3;
  heartbeat.waiting = 2;
  router_->on_heartbeat(heartbeat.instance, wire::to_bytes(heartbeat));
  EXPECT_EQ(sequences_at_1(), 5U);
  EXPECT_EQ(explain(1, "").at(0).at("chosen").as_string(), "worker-2");
  clock_.advance(std::chrono::seconds(6));
  EXPECT_EQ(sequences_at_1(), 0U);
  // This router's own are not counted twice, nor after they have ended, though the heartbeat was on its way meanwhile.
  boost::asio::io_context io(1);
  const auto work = boost::asio::make_work_guard(io);
  std::vector<std::unique_ptr<Generation>> held(4);
  for (auto& one : held) {
    GenerateRequest named = request(8);
    named.routing.instance = 1;
    hold(&io, std::move(named), &one);
  }
  held.clear();
  router_->on_heartbeat(heartbeat.instance, wire::to_bytes(heartbeat));
  EXPECT_EQ(sequences_at_1(), 1U);
  router_->on_heartbeat(heartbeat.instance, wire::to_bytes(heartbeat));
  EXPECT_EQ(sequences_at_1(), 5U);
}

TEST_F(RouterTest, AWorkerWithoutAPlaceMakesARequestWaitAndThatCosts) {
  start(Mode::kKv);
  add(1, nullptr, /*has_events=*/false, Serves::kBoth, /*max_sequences=*/4);
  const auto rounds = [&] {
    ask(request(8));
    return explain(1, "").at(0).at("candidates").at(0).at("rounds").to_number<double>();
  };
  wire::Heartbeat heartbeat;
  heartbeat.instance = 1;
  const auto beat_with = [&](uint32_t running, uint32_t waiting, bool is_full) {
    heartbeat.running = running;
    heartbeat.waiting = waiting;
    heartbeat.is_full = is_full;
    router_->on_heartbeat(heartbeat.instance, wire::to_bytes(heartbeat));
    router_->on_heartbeat(heartbeat.instance, wire::to_bytes(heartbeat));  // nothing of ours since the last one
  };
  EXPECT_EQ(rounds(), 0);
  beat_with(3, 0, false);
  EXPECT_EQ(rounds(), 0);
  beat_with(4, 0, false);
  EXPECT_EQ(rounds(), 0.25);
  beat_with(4, 5, true);
  EXPECT_EQ(rounds(), 1.5);
  beat_with(2, 1, false);  // its turn in a step will come
  EXPECT_EQ(rounds(), 0);
  beat_with(2, 1, true);  // no blocks for a third
  EXPECT_EQ(rounds(), 1);
}

TEST_F(RouterTest, AutoMeasuresADecodeWorkerWithOnePromptAMinute) {
  start_auto(0);
  EXPECT_EQ(place_of_prompt(request(100)), "prefill-worker-1");  // neither is known
  beat(1, 1000, 50'000);
  EXPECT_EQ(place_of_prompt(request(63)), "prefill-worker-1");
  EXPECT_EQ(place_of_prompt(request(100)), "here: to measure how fast it computes prompts");
  EXPECT_EQ(place_of_prompt(request(100)), "prefill-worker-1");
  clock_.advance(std::chrono::seconds(61));
  EXPECT_EQ(place_of_prompt(request(100)), "here: to measure how fast it computes prompts");
  EXPECT_EQ(place_of_prompt(request(100)), "prefill-worker-1");
  beat(3, 10'000);
  EXPECT_THAT(place_of_prompt(request(100)), HasSubstr("here: expected to take"));
}

TEST_F(RouterTest, AutoTriesASlowWorkerAgainAfterAMinute) {
  start_auto(1000);
  EXPECT_EQ(place_of_prompt(request(100)), "prefill-worker-1");
  beat(1, 10, 50'000);
  EXPECT_THAT(place_of_prompt(request(100)), HasSubstr("here: expected to take"));
  clock_.advance(std::chrono::seconds(61));
  beat(1, 10, 50'000, /*queued_tokens=*/1);
  EXPECT_THAT(place_of_prompt(request(100)), HasSubstr("here: expected to take"));  // others keep it busy
  beat(1, 10, 50'000);
  EXPECT_EQ(place_of_prompt(request(100)), "prefill-worker-1");
  EXPECT_THAT(place_of_prompt(request(100)), HasSubstr("here: expected to take"));
}

TEST_F(RouterTest, PrefillWorkersAloneAnswerNothing) {
  start(Mode::kRoundRobin);
  add(1, nullptr, /*has_events=*/false, Serves::kPrefill);
  EXPECT_THAT(ask(request(8)).status.to_string(), HasSubstr("only prefill workers serve this model"));
  auto* both = add(2);
  EXPECT_EQ(worker_for(request(8)), "worker-2");
  EXPECT_TRUE(both->requests().back().prefill_at.empty());
}

TEST_F(RouterTest, AnotherRoutersRequestsCountUntilTheyEndOrAreOld) {
  start(Mode::kKv);
  add(1);
  add(2);
  std::vector<std::string> notices;
  Metrics metrics;
  RouterOptions options;
  options.mode = Mode::kRoundRobin;
  options.block_tokens = kBlock;
  RouterHooks hooks;
  hooks.tell_routers = [&](const std::string& notice) { notices.push_back(notice); };
  const auto other = Router::create(options, hooks, &metrics, "m", &clock_);
  RoutedWorker worker;
  worker.instance = 1;
  worker.name = "worker-1";
  worker.generator = std::make_shared<ScriptedGenerator>([](const GenerateRequest& r) { return counting(r); });
  ASSERT_TRUE(other->add_worker(std::move(worker)).is_ok());
  EXPECT_TRUE(run(read(other.get(), request(40))).status.is_ok());
  ASSERT_EQ(notices.size(), 3U);  // added, prefill done, free
  router_->on_router_notice(notices[0]);
  EXPECT_EQ(router_->view().at(0).queued_tokens, 40U);
  EXPECT_EQ(router_->view().at(0).active_blocks, 10U);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(worker_for(request(8)), "worker-2");
  router_->on_router_notice(notices[1]);
  EXPECT_EQ(router_->view().at(0).queued_tokens, 0U);
  router_->on_router_notice(notices[2]);
  EXPECT_EQ(router_->in_flight(), 0U);
  router_->on_router_notice(notices[0]);
  clock_.advance(std::chrono::minutes(11));
  router_->on_router_notice(notices[2].substr(0, 3));
  router_->on_router_notice(notices[1]);
  EXPECT_EQ(router_->in_flight(), 0U);
}

TEST_F(RouterTest, AWorkerThatGivesATokenOfNoVocabularyHasFailedTheRequest) {
  start(Mode::kRoundRobin);
  vocab_size_ = 50;
  auto* odd = add(1, [](const GenerateRequest& request) {
    Answer answer = counting(request);
    answer.chunks[2].tokens = {50};
    return answer;
  });
  auto* good = add(2);
  const Said said = ask(request(8));
  EXPECT_TRUE(said.status.is_ok()) << said.status.to_string();
  EXPECT_THAT(said.tokens, ElementsAre(8, 9, 10, 11));
  EXPECT_EQ(odd->requests().size(), 1U);
  ASSERT_EQ(good->requests().size(), 1U);
  EXPECT_EQ(good->requests()[0].prompt.size(), 10U) << "it goes on from the tokens that can be";
  router_->remove_worker(2);
  const Said alone = ask(request(8));
  EXPECT_EQ(alone.status.code(), Code::kCorrupt);
  EXPECT_THAT(alone.status.text(), HasSubstr("worker-1 gave token 50; the vocabulary has 50"));
}

TEST_F(RouterTest, AWorkerThatGivesMoreTokensThanWereAskedForHasFailedTheRequest) {
  start(Mode::kRoundRobin);
  add(1, [](const GenerateRequest& request) {
    GenerateRequest longer = request;
    longer.stop.max_tokens = 1000;
    return counting(longer);
  });
  const Said said = ask(request(8));
  EXPECT_EQ(said.status.code(), Code::kCorrupt);
  EXPECT_EQ(said.tokens.size(), 4U);
  add(2);
  EXPECT_TRUE(ask(request(8)).status.is_ok());
}

TEST_F(RouterTest, AnInstanceThatIsThereIsRefusedAndNothingChanges) {
  start(Mode::kRoundRobin);
  add(1);
  RoutedWorker again;
  again.instance = 1;
  again.name = "decode-worker-9";
  again.serves = Serves::kPrefill;
  again.generator = std::make_shared<ScriptedGenerator>([](const GenerateRequest& one) { return counting(one); });
  const Status status = router_->add_worker(again);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_THAT(status.text(), HasSubstr("worker 0000000000000001 is there already, as worker-1"));
  EXPECT_EQ(router_->answering_workers(), 1U);
  EXPECT_EQ(worker_for(request(8)), "worker-1");
}

// As a registry might say it that holds anything: the same instance twice, in several roles, again and again.
TEST_F(RouterTest, WorkersComeAndGoInAnyOrder) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    start(seed % 2 == 0 ? Mode::kKv : Mode::kRoundRobin);
    std::map<uint64_t, Serves> there;
    for (int step = 0; step < 60; ++step) {
      const uint64_t instance = 1 + random() % 5;
      if (random() % 2 == 0) {
        RoutedWorker worker;
        worker.instance = instance;
        worker.name = fmt::format("worker-{}", random() % 3);
        worker.serves = std::array{Serves::kBoth, Serves::kPrefill, Serves::kDecode}[random() % 3];
        worker.has_events = random() % 2 == 0;
        worker.generator =
            std::make_shared<ScriptedGenerator>([](const GenerateRequest& one) { return counting(one); });
        const Serves serves = worker.serves;
        const bool is_new = there.emplace(instance, serves).second;
        ASSERT_EQ(router_->add_worker(std::move(worker)).code(), is_new ? Code::kOk : Code::kInvalid);
      } else {
        router_->remove_worker(instance);
        there.erase(instance);
      }
      if (random() % 2 == 0) router_->on_snapshot(instance, 1, chain(16));
      if (random() % 4 == 0) router_->on_events(instance, events(instance, 1 + random() % 3, chain(40)));
      ASSERT_EQ(router_->workers(), there.size());
      ASSERT_EQ(router_->answering_workers(),
                std::ranges::count_if(there, [](const auto& one) { return one.second != Serves::kPrefill; }));
      if (random() % 4 == 0) ask(request(20));
    }
    EXPECT_EQ(router_->in_flight(), 0U);
  }
}

TEST_F(RouterTest, WhatWasDecidedIsSharedAndStaysAsItWas) {
  RouterOptions options;
  options.mode = Mode::kKv;
  options.remembered_decisions = 3;
  start(options);
  add(1);
  ask(request(8));
  const Decisions first = router_->decisions(10, "");
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(router_->decisions(10, "").at(0), first[0]) << "a pointer is copied under the lock, not a decision";
  const std::string before = boost::json::serialize(to_json(*first[0]));
  add(2);
  for (int i = 0; i < 5; ++i) ask(request(8));
  router_->remove_worker(1);
  const Decisions latest = router_->decisions(10, "");
  EXPECT_EQ(latest.size(), 3U);
  EXPECT_EQ(std::ranges::count(latest, first[0]), 0);
  EXPECT_EQ(boost::json::serialize(to_json(*first[0])), before) << "also when the router has forgotten it";
}

TEST_F(RouterTest, AWorkerSpeaksOnlyForItself) {
  start(Mode::kKv);
  add(1, nullptr, /*has_events=*/true);
  add(2, nullptr, /*has_events=*/true);
  router_->on_snapshot(1, 0, {});
  router_->on_snapshot(2, 0, {});
  wire::Heartbeat heartbeat;
  heartbeat.instance = 1;
  heartbeat.used_blocks = 100;
  router_->on_events(2, events(1, 1, chain(40)));
  router_->on_heartbeat(2, wire::to_bytes(heartbeat));
  EXPECT_EQ(router_->view().at(0).cached_blocks, 0U);
  EXPECT_THAT(metrics_.expose(), HasSubstr("dynamo_router_ignored_messages_total{model=\"m\"} 2"));
  router_->on_events(1, events(1, 1, chain(40)));
  EXPECT_EQ(router_->view().at(0).cached_blocks, 10U);
}

TEST_F(RouterTest, RatesThatCannotBeAreNotKnown) {
  for (const double rate : {std::nan(""), HUGE_VAL, -HUGE_VAL, -5.0}) {
    start_auto(1000);
    beat(1, rate, rate);
    beat(3, rate, rate);
    EXPECT_EQ(place_of_prompt(request(80, 1)), "prefill-worker-1");
  }
}

TEST_F(RouterTest, MessagesThatAreBrokenOrAboutNobodyAreIgnoredAndCounted) {
  start(Mode::kKv);
  add(1, nullptr, true);
  router_->on_events(1, "\xFF");
  router_->on_heartbeat(1, "\xFF");
  router_->on_events(99, events(99, 1, chain(8)));
  EXPECT_THAT(metrics_.expose(), HasSubstr("dynamo_router_ignored_messages_total{model=\"m\"} 3"));
}

}  // namespace
}  // namespace dynamo::router
