// Both sides of hand-offs as they run, between real engine cores, on a clock and a network of our own: slow and overtaking writes,
// connections that break while writes go on, writers that are stopped in the middle of one, workers that die and come back, clients that
// leave, first tokens of no vocabulary, exceptions for want of memory. The runner reads every sequence back through its blocks, so a write into a block that is used for something else shows at once.
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include <fmt/format.h>

#include "base/testing/fake_clock.h"
#include "engine/engine_core.h"
#include "engine/testing/checking_runner.h"
#include "handoff/decode_side.h"
#include "handoff/metrics.h"
#include "handoff/prefill_side.h"
#include "kv/testing/narrow_hashes.h"
#include "wire/chunk.h"
#include "wire/handoff_notice.h"
#include "wire/reply.h"
#include "wire/request.h"

namespace dynamo::handoff {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint32_t kVocab = 50;
constexpr uint32_t kBlock = 4;
constexpr size_t kBlockBytes = kBlock * engine::CheckingRunner::kTokenBytes;

struct World {
  explicit World(uint64_t seed) : random(seed) {}
  uint64_t draw(uint64_t below) { return random() % below; }
  bool chance(double probability) { return static_cast<double>(random() % 1'000'000) < probability * 1e6; }
  Duration draw(Duration most) {
    return Duration(static_cast<Duration::rep>(random() % (static_cast<uint64_t>(most.count()) + 1)));
  }
  Task<void> sleep(Duration time) {
    Timer timer(&clock, co_await asio::this_coro::executor);
    const Time until = clock.now() + time;
    co_await timer.wait(until);
  }
  // Runs what can run now.
  void settle() {
    io.restart();
    while (io.poll() > 0) {
    }
  }
  void spawn(Task<void> task) {
    asio::co_spawn(io, std::move(task), [](std::exception_ptr failure) { CHECK(failure == nullptr); });
  }

  std::mt19937_64 random;
  FakeClock clock;
  asio::io_context io{1};
  double trouble = 0;
  uint32_t depth = 1;          // steps that engines have under way
  bool knows_writers = false;  // as shm and tcp do; as nixl does not
  Time first_put_goes_on{};    // of each mover: nothing of it is written before
};

// An engine whose steps take simulated time.
class SteppedEngine final : public engine::Engine, public std::enable_shared_from_this<SteppedEngine> {
 public:
  SteppedEngine(World* world, engine::EngineOptions options, std::span<std::byte> pool)
      : world_(world),
        options_(options),
        runner_(new engine::CheckingRunner(kVocab, pool, world->depth)),
        core_(options, std::unique_ptr<engine::StepRunner>(runner_), &world->clock, /*events=*/nullptr, &metrics_,
              MetricLabels{}) {}

  void start() { world_->spawn(run(shared_from_this())); }
  // As a killed process: nothing comes from it any more.
  void die() {
    is_dead_ = true;
    if (wake_) wake_->wake();
  }

  Result<SequenceId> submit(GenerateRequest request, std::shared_ptr<engine::ChunkSink> sink,
                            engine::Handoff handoff) override {
    TRY_STATUS(engine::EngineCore::check(options_, request));
    const SequenceId id{++last_id_};
    order([=, this, request = std::move(request)] { core_.add(id, request, sink, handoff); });
    return id;
  }
  void cancel(SequenceId id) override {
    order([=, this] { core_.cancel(id); });
  }
  void clear_cache() override {
    order([this] { core_.clear_cache(); });
  }
  void received(SequenceId id, uint32_t attempt, uint32_t tokens) override {
    order([=, this] { core_.received(id, attempt, tokens); });
  }
  void received_all(SequenceId id, uint32_t attempt, DrawnToken first, uint32_t cached) override {
    order([=, this] { core_.received_all(id, attempt, first, cached); });
  }
  void fetch_again(SequenceId id, uint32_t attempt) override {
    order([=, this] { core_.fetch_again(id, attempt); });
  }
  void prefill_here(SequenceId id, uint32_t attempt, bool keeps_received) override {
    order([=, this] { core_.prefill_here(id, attempt, keeps_received); });
  }
  void release(std::vector<BlockId> blocks) override {
    order([=, this] { core_.release(blocks); });
  }
  engine::EngineLoad load() const override { return core_.load(); }
  void stop(Time) override {}
  const engine::BlockPool& pool() const { return core_.pool(); }
  engine::CheckingRunner& runner() { return *runner_; }

 private:
  void order(std::function<void()> what) {
    if (is_dead_) return;
    orders_.push_back(std::move(what));
    if (wake_) wake_->wake();
  }
  static Task<void> run(std::shared_ptr<SteppedEngine> self) {
    Timer wake(&self->world_->clock, co_await asio::this_coro::executor);
    while (!self->is_dead_) {
      for (auto& one : std::exchange(self->orders_, {})) one();
      Time until = Time::max();
      if (self->core_.has_work()) {
        const bool has_run = self->core_.step();
        self->core_.pool().check_invariants();
        if (has_run) {
          const bool freezes = self->world_->chance(self->world_->trouble / 250);
          const Duration step = freezes ? seconds(40) : milliseconds(1) + self->world_->draw(milliseconds(20));
          co_await self->world_->sleep(step);
          continue;
        }
        until = self->core_.next_deadline();
      }
      if (!self->orders_.empty()) continue;
      self->wake_ = &wake;
      co_await wake.wait(until);
      self->wake_ = nullptr;
    }
  }

  World* world_;
  const engine::EngineOptions options_;
  Metrics metrics_;
  engine::CheckingRunner* runner_;  // the core's
  engine::EngineCore core_;
  std::vector<std::function<void()>> orders_;
  Timer* wake_ = nullptr;
  bool is_dead_ = false;
  uint64_t last_id_ = 0;
};

struct Node;

// Who is where, and which links are cut.
struct Network {
  std::map<std::string, Node*> nodes;                          // alive, by card
  std::set<std::pair<std::string, std::string>> broken_calls;  // decode card, prefill card
};

struct FakeRoute final : Route {
  explicit FakeRoute(std::string to) : card(std::move(to)) {}
  std::string_view backend() const override { return "fake"; }
  uint32_t blocks() const override { return 1000; }
  std::string card;
};

class FakeMover final : public BlockMover {
 public:
  FakeMover(World* world, Network* network, std::string card, std::span<std::byte> pool)
      : world_(world), network_(network), card_(std::move(card)), pool_(pool) {}

  std::string backends() const override { return "fake"; }
  const std::string& card() const override { return card_; }
  Result<std::shared_ptr<const Route>> route(std::string_view card) override {
    if (card.starts_with("odd")) return unsupported("block size 16 here, 32 there");
    return std::shared_ptr<const Route>(std::make_shared<FakeRoute>(std::string(card)));
  }
  uint64_t put(std::shared_ptr<const Route> route, uint64_t room, std::vector<BlockPair> blocks, std::string notice,
               Done done) override {
    const uint64_t number = ++last_;
    world_->spawn(carry(number, static_cast<const FakeRoute*>(route.get())->card, room, std::move(blocks),
                        std::move(notice), std::move(done)));
    return number;
  }
  void cancel(uint64_t put) override { cancelled_.insert(put); }
  void on_notice(std::function<void(std::string)> handler) override { handler_ = std::move(handler); }
  uint64_t open_room() override {
    if (world_->chance(world_->trouble / 100)) throw std::bad_alloc();
    const uint64_t room = world_->random() | 1;
    open_.insert(room);
    return room;
  }
  void close_room(uint64_t room) override { CHECK(open_.erase(room) == 1); }
  Writing writing(uint64_t room) const override {
    if (!world_->knows_writers) return Writing::kUnknown;
    const bool goes_on = std::ranges::any_of(writers_, [&](const auto& one) { return one.second == room; });
    return goes_on ? Writing::kGoesOn : Writing::kOver;
  }
  void die();

 private:
  static FakeMover* at(Network* network, const std::string& card);
  // One block, as a backend does it that knows writers: what began before the room was closed may land much later.
  Task<Status> write(std::string card, uint64_t room, BlockPair block) {
    World* const world = world_;
    Network* const network = network_;
    const std::shared_ptr<bool> alive = alive_;
    FakeMover* peer = at(network, card);
    if (peer == nullptr) co_return unavailable("the peer went away");
    if (!peer->open_.contains(room)) co_return ::dynamo::cancelled("the peer takes no more of it");
    const auto writer = peer->writers_.emplace(this, room);
    const bool is_stopped = world->chance(world->trouble / 30);
    const Duration most = world->chance(0.3) ? seconds(60) : seconds(4);
    const Duration time = world->draw(is_stopped ? most : milliseconds(1));
    co_await world->sleep(time);
    if (!*alive || is_dead_) co_return unavailable("dead");  // die() has taken it out
    peer = at(network, card);
    if (peer == nullptr) co_return unavailable("the peer went away");
    std::memcpy(peer->pool_.data() + block.to * kBlockBytes, pool_.data() + block.from * kBlockBytes, kBlockBytes);
    peer->writers_.erase(writer);
    co_return Status();
  }
  Task<void> carry(uint64_t number, std::string card, uint64_t room, std::vector<BlockPair> blocks, std::string notice,
                   Done done) {
    const std::shared_ptr<bool> alive = alive_;
    World* const world = world_;
    Network* const network = network_;
    const bool is_slow = world->chance(world->trouble / 10);
    if (number == 1) co_await world->sleep(world->first_put_goes_on - world->clock.now());
    // Block by block, so that a write is seen half done.
    for (const BlockPair& block : blocks) {
      const Duration step = world->draw(is_slow ? milliseconds(2000) : milliseconds(3));
      co_await world->sleep(step);
      if (!*alive || is_dead_) co_return;
      FakeMover* const peer = at(network, card);
      if (cancelled_.contains(number)) co_return done(::dynamo::cancelled("cancelled"), 0);
      if (peer == nullptr || world->chance(world->trouble / 500)) co_return done(unavailable("the peer went away"), 0);
      if (world->knows_writers) {
        const Status written = co_await write(card, room, block);
        if (!*alive || is_dead_) co_return;
        if (!written.is_ok()) co_return done(written, 0);
      } else {
        std::memcpy(peer->pool_.data() + block.to * kBlockBytes, pool_.data() + block.from * kBlockBytes, kBlockBytes);
      }
    }
    FakeMover* peer = at(network, card);
    if (cancelled_.contains(number)) co_return done(::dynamo::cancelled("cancelled"), 0);
    if (peer == nullptr) co_return done(unavailable("the peer went away"), 0);
    const uint64_t bytes = blocks.size() * kBlockBytes;
    done(Status(), bytes);
    const Duration late = world->draw(milliseconds(2));
    const bool is_lost = world->chance(world->trouble / 100);
    co_await world->sleep(late);
    peer = at(network, card);
    if (peer == nullptr || !peer->handler_ || is_lost) co_return;
    peer->handler_(world->chance(world->trouble / 20) ? spoilt(world, notice) : std::move(notice));
  }
  // With a first token that no engine of this vocabulary draws, if it has one.
  static std::string spoilt(World* world, const std::string& bytes) {
    wire::HandoffNotice notice = wire::handoff_notice_from_bytes(bytes).value();
    if (notice.first_token.empty()) return bytes;
    TokenChunk chunk;
    const std::vector<std::vector<TokenId>> wrong = {{kVocab}, {UINT32_MAX}, {}, {1, 2}};
    chunk.tokens = wrong[world->draw(wrong.size())];
    notice.first_token = world->chance(0.2) ? "\xFF" : wire::to_bytes(chunk);
    return wire::to_bytes(notice);
  }

  World* world_;
  Network* network_;
  const std::string card_;
  std::span<std::byte> pool_;
  std::function<void(std::string)> handler_;
  std::set<uint64_t> cancelled_;
  std::set<uint64_t> open_;                            // rooms
  std::multimap<const FakeMover*, uint64_t> writers_;  // into our pool: who, and for which room
  uint64_t last_ = 0;
  bool is_dead_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class FakePeers final : public PrefillPeers {
 public:
  FakePeers(World* world, Network* network, std::string card)
      : world_(world), network_(network), card_(std::move(card)) {}
  Task<Result<PrefillReport>> ask(PrefillPlace place, PrefillOrder order, Time until, rpc::Asked* asked) override;

 private:
  World* world_;
  Network* network_;
  const std::string card_;
};

// One worker process.
struct Node {
  Node(World* world, Network* network, std::string card, uint32_t blocks, uint32_t batch)
      : pool(blocks * kBlockBytes),
        mover(world, network, card, std::as_writable_bytes(std::span(pool))),
        peers(world, network, card),
        card(card),
        network(network) {
    const engine::EngineOptions options{.block_tokens = kBlock,
                                        .kv_blocks = blocks,
                                        .context_length = 200,
                                        .vocab_size = kVocab,
                                        .max_batch_tokens = batch,
                                        .max_sequences = 16,
                                        .max_waiting = 1000};
    engine = std::make_shared<SteppedEngine>(world, options, std::as_writable_bytes(std::span(pool)));
    engine->start();
    prefill = std::make_unique<PrefillSide>(kBlock, engine.get(), &mover, &world->clock, &metrics, MetricLabels{});
    decode =
        std::make_unique<DecodeSide>(DecodeSideOptions{.block_tokens = kBlock, .vocab_size = kVocab}, engine.get(),
                                     &mover, &peers, world->io.get_executor(), &world->clock, &metrics, MetricLabels{});
    network->nodes[card] = this;
  }
  void die() {
    network->nodes.erase(card);
    engine->die();
    mover.die();
    is_dead = true;
  }
  std::vector<char> pool;
  Metrics metrics;
  FakeMover mover;
  FakePeers peers;
  const std::string card;
  Network* network;
  std::shared_ptr<SteppedEngine> engine;
  std::unique_ptr<PrefillSide> prefill;
  std::unique_ptr<DecodeSide> decode;
  bool is_dead = false;
};

FakeMover* FakeMover::at(Network* network, const std::string& card) {
  const auto found = network->nodes.find(card);
  return found == network->nodes.end() ? nullptr : &found->second->mover;
}

void FakeMover::die() {
  is_dead_ = true;
  writers_.clear();
  for (const auto& [card, node] : network_->nodes) node->mover.writers_.erase(this);
}

// One call: the answer runs at the other node; either end may break.
struct Call {
  explicit Call(World* world) : over(&world->clock, world->io.get_executor()) {}
  std::optional<Result<std::string>> reply;
  Timer over;
  asio::cancellation_signal cancel;
  bool has_ended = false;
};

Task<Result<PrefillReport>> FakePeers::ask(PrefillPlace place, PrefillOrder order, Time until, rpc::Asked* asked) {
  World* const world = world_;
  Network* const network = network_;
  const auto link = std::pair(card_, place.name);
  if (!network->nodes.contains(place.name) || network->broken_calls.contains(link))
    co_return unavailable("not connected");
  if (world->chance(world->trouble / 300)) throw std::bad_alloc();
  *asked = rpc::Asked::kSent;
  if (world->chance(world->trouble / 300)) throw std::bad_alloc();
  auto call = std::make_shared<Call>(world);
  asio::co_spawn(
      world->io,
      [](World* world, Network* network, std::string to, std::string bytes, std::shared_ptr<Call> call) -> Task<void> {
        const Duration way = world->draw(milliseconds(2));
        co_await world->sleep(way);
        const auto found = network->nodes.find(to);
        if (found == network->nodes.end()) co_return;
        auto request = wire::request_from_bytes(bytes, world->clock.now());
        auto order = std::get<Result<PrefillOrder>>(std::move(request).value());
        CHECK_OK(order);
        auto report = co_await found->second->prefill->answer(std::move(order).value());
        std::string reply = wire::prefill_reply(report);
        const Duration back = world->draw(milliseconds(2));
        co_await world->sleep(back);
        call->reply = std::move(reply);
        call->over.wake();
      }(world, network, place.name, wire::to_bytes(order, world->clock.now()), call),
      asio::bind_cancellation_slot(call->cancel.slot(), [call](std::exception_ptr) { call->has_ended = true; }));
  // A caller that goes away is noticed at the other end: soon when it says so, late when the connection broke.
  struct Hang {
    World* world;
    std::shared_ptr<Call> call;
    Duration notice = milliseconds(2);
    ~Hang() {
      world->spawn([](World* world, std::shared_ptr<Call> call, Duration most) -> Task<void> {
        const Duration wait = world->draw(most);
        co_await world->sleep(wait);
        if (!call->has_ended) call->cancel.emit(asio::cancellation_type::terminal);
      }(world, call, notice));
    }
  } hang{world, call};
  while (!call->reply) {
    const Time tick = std::min(until, world->clock.now() + milliseconds(500));  // pings
    co_await call->over.wait(tick);
    if (call->reply) break;
    if (world->clock.now() >= until) co_return deadline("time ran out");
    if (!network->nodes.contains(place.name) || network->broken_calls.contains(link) ||
        world->chance(world->trouble / 400)) {
      hang.notice = seconds(10);
      co_return unavailable("the connection broke");
    }
  }
  Result<PrefillReport> report;
  CHECK(wire::read_prefill_reply(**call->reply, &report).is_ok());
  *asked = rpc::Asked::kAnswered;
  co_return report;
}

struct Collected final : engine::ChunkSink {
  void on_chunk(TokenChunk chunk) override {
    CHECK(!finish && failure.is_ok());
    tokens.insert(tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    finish = chunk.finish;
  }
  void on_failure(Status status) override { failure = std::move(status); }
  void on_sign_of_life() override { ++signs; }
  bool is_over() const { return finish || !failure.is_ok(); }

  std::vector<TokenId> tokens;
  std::optional<FinishReason> finish;
  Status failure;
  int signs = 0;
};

struct Asked {
  GenerateRequest request;
  std::shared_ptr<Collected> sink;
  SequenceId id;
  Node* at = nullptr;
  bool is_cancelled = false;
  std::weak_ptr<engine::BlockSource> source;
};

std::vector<TokenId> alone(const GenerateRequest& request) {
  FakeClock clock;
  Metrics metrics;
  const engine::EngineOptions options{
      .block_tokens = kBlock, .kv_blocks = 60, .context_length = 200, .vocab_size = kVocab};
  engine::EngineCore core(options, std::make_unique<engine::CheckingRunner>(kVocab), &clock, /*events=*/nullptr,
                          &metrics, MetricLabels{});
  auto sink = std::make_shared<Collected>();
  GenerateRequest unhurried = request;
  unhurried.deadline = Time::max();
  core.add(SequenceId{1}, unhurried, sink);
  while (core.has_work()) core.step();
  return sink->tokens;
}

class Simulation {
 public:
  // With `mixes_blocks` prompts are made of few blocks in any order, else they have one of three continuations.
  explicit Simulation(uint64_t seed, bool mixes_blocks = false) : world_(seed), mixes_blocks_(mixes_blocks) {
    world_.trouble = seed % 3 == 0 ? 0 : 0.5;
    world_.knows_writers = seed % 2 == 0;
    world_.depth = 1 + seed / 6 % 3;
    for (int i = 0; i < 2; ++i) add_node("prefill");
    for (int i = 0; i < 2; ++i) add_node("decode");
    if (world_.chance(0.2)) add_node("odd");
  }

  void run() {
    for (int i = 0; i < 25; ++i) world_.spawn(one_request());
    if (world_.trouble > 0) {
      for (int i = 0; i < 2; ++i) world_.spawn(kill_and_replace());
      for (int i = 0; i < 4; ++i) world_.spawn(break_a_link());
    }
    world_.settle();
    while (world_.clock.advance_to_next()) {
      world_.settle();
      ASSERT_LT(++turns_, 500'000);
    }
  }

  void check(std::map<std::string, double>* counts) {
    for (const Asked& one : asked_) {
      const auto& tokens = one.sink->tokens;
      const auto expected = alone(one.request);
      ASSERT_TRUE(tokens.size() <= expected.size() && std::equal(tokens.begin(), tokens.end(), expected.begin()));
      if (one.is_cancelled || one.at->is_dead) continue;
      ASSERT_TRUE(one.sink->is_over());
      EXPECT_TRUE(one.source.expired()) << "kept after the request's end";
      if (one.sink->finish) {
        ASSERT_EQ(tokens.size(), expected.size());
        ++(*counts)["answered"];
      } else {
        ASSERT_EQ(one.sink->failure.code(), Code::kDeadline) << one.sink->failure.to_string();
        ++(*counts)["too late"];
      }
    }
    for (const auto& node : nodes_) {
      if (node->is_dead) continue;
      EXPECT_EQ(node->engine->load().used_blocks, 0U) << node->card;
      EXPECT_EQ(node->engine->load().running + node->engine->load().waiting, 0U) << node->card;
      EXPECT_EQ(node->decode->in_flight(), 0U) << node->card;
      for (const char* end : {"done", "given_up", "unreachable", "refused", "lost", "stalled", "not_arrived", "wrong"})
        (*counts)[end] += node->metrics.counter(kHandoffs, {{"end", end}}).Value();
      (*counts)["retries"] += node->metrics.counter(kRetries).Value();
      (*counts)["moved blocks"] += node->metrics.counter(kReceivedBlocks).Value();
      for (const char* reason : {"unreachable", "refused", "lost", "not_arrived", "wrong"})
        (*counts)["local"] += node->metrics.counter(kLocalPrefills, {{"reason", reason}}).Value();
    }
  }

 private:
  Node* add_node(const std::string& kind) {
    nodes_.push_back(std::make_unique<Node>(&world_, &network_, fmt::format("{}-{}", kind, nodes_.size()),
                                            static_cast<uint32_t>(30 + world_.draw(40)),
                                            static_cast<uint32_t>(4 + world_.draw(30))));
    return nodes_.back().get();
  }
  Node* pick(std::string_view kind) {
    std::vector<Node*> all;
    for (const auto& node : nodes_)
      if (!node->is_dead && node->card.starts_with(kind)) all.push_back(node.get());
    return all.empty() ? nullptr : all[world_.draw(all.size())];
  }

  Task<void> one_request() {
    const Duration arrival = world_.draw(seconds(8));
    co_await world_.sleep(arrival);
    Asked asked;
    GenerateRequest& request = asked.request;
    request.id = fmt::format("r{}", asked_.size());
    uint64_t family = world_.draw(3);
    for (size_t i = 0, size = 1 + world_.draw(60); i < size; ++i) {
      if (mixes_blocks_ && i % kBlock == 0) family = world_.draw(3);
      const uint64_t token = mixes_blocks_ ? family : i * 7 + (i < 8 ? 0 : family);
      request.prompt.tokens.push_back(static_cast<TokenId>(token % kVocab));
    }
    request.stop.max_tokens = 1 + static_cast<uint32_t>(world_.draw(25));
    request.deadline = world_.clock.now() + (world_.chance(0.1) ? milliseconds(100) : seconds(120));
    for (uint64_t places = world_.draw(3); places > 0; --places)
      if (const Node* node = pick("prefill")) request.prefill_at.push_back({1, node->card, ""});
    asked.at = pick(world_.chance(0.1) ? "odd" : "decode");
    if (asked.at == nullptr) asked.at = pick("decode");
    if (asked.at == nullptr) co_return;
    asked.sink = std::make_shared<Collected>();
    auto source = asked.at->decode->source_of(request);
    asked.source = source;
    auto id = asked.at->engine->submit(request, asked.sink, {std::move(source), nullptr});
    CHECK_OK(id);
    asked.id = *id;
    const size_t place = asked_.size();
    asked_.push_back(asked);
    if (!world_.chance(0.15)) co_return;
    const Duration patience = world_.draw(milliseconds(500));
    co_await world_.sleep(patience);
    if (asked_[place].sink->is_over()) co_return;
    asked_[place].is_cancelled = true;
    asked_[place].at->engine->cancel(*id);
  }

  Task<void> kill_and_replace() {
    const Duration wait = world_.draw(seconds(8));
    co_await world_.sleep(wait);
    const std::string kind = world_.chance(0.7) ? "prefill" : "decode";
    Node* const node = pick(kind);
    if (node == nullptr) co_return;
    node->die();
    const Duration gone = world_.draw(seconds(4));
    co_await world_.sleep(gone);
    add_node(kind);
  }

  // The request plane between two workers, while blocks still find their way.
  Task<void> break_a_link() {
    const Duration wait = world_.draw(seconds(8));
    co_await world_.sleep(wait);
    const Node* from = pick("decode");
    const Node* to = pick("prefill");
    if (from == nullptr || to == nullptr) co_return;
    const auto link = std::pair(from->card, to->card);
    network_.broken_calls.insert(link);
    const Duration broken = world_.draw(seconds(3));
    co_await world_.sleep(broken);
    network_.broken_calls.erase(link);
  }

  World world_;
  const bool mixes_blocks_;
  Network network_;
  std::vector<std::unique_ptr<Node>> nodes_;  // the dead too
  std::vector<Asked> asked_;
  int turns_ = 0;
};

TEST(HandoffSimulation, EveryPromptArrivesSomehowAndNothingStaysHeld) {
  std::map<std::string, double> counts;
  for (uint64_t seed = 1; seed <= 3000 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Simulation simulation(seed);
    simulation.run();
    simulation.check(&counts);
  }
  // The worlds are neither too kind nor too harsh for this to mean something.
  for (const auto& [what, count] : counts) RecordProperty(what, static_cast<int>(count));
  for (const char* what : {"answered", "too late", "done", "given_up", "unreachable", "refused", "lost", "stalled",
                           "not_arrived", "wrong", "retries", "local", "moved blocks"})
    EXPECT_GT(counts[what], 50) << what;
}

// As if clients had chosen their tokens so that blocks collide: none is taken, on either side, for one computed after others.
TEST(HandoffSimulation, BlocksThatCollideChangeNoAnswerAndLeaveNothingHeld) {
  std::map<std::string, double> counts;
  for (const int bits : {3, 6}) {
    const kv::NarrowHashes narrow(bits);
    for (uint64_t seed = 1; seed <= 500 && !testing::Test::HasFailure(); ++seed) {
      SCOPED_TRACE(fmt::format("{} bits, seed {}", bits, seed));
      Simulation simulation(seed, /*mixes_blocks=*/true);
      simulation.run();
      simulation.check(&counts);
    }
  }
  for (const char* what : {"answered", "done", "given_up", "lost", "local", "moved blocks"})
    EXPECT_GT(counts[what], 50) << what;
}

// Measures the silence at the end that decodes.
struct Listener final : engine::ChunkSink {
  explicit Listener(const Clock* its_clock) : clock(its_clock), heard(clock->now()) {}
  void on_chunk(TokenChunk chunk) override {
    hear();
    is_over = chunk.finish.has_value();
  }
  void on_failure(Status status) override { CHECK(status.is_ok()); }
  void on_sign_of_life() override {
    hear();
    ++signs;
  }
  void hear() {
    longest = std::max(longest, clock->now() - heard);
    heard = clock->now();
  }

  const Clock* clock;
  Time heard;
  Duration longest{};
  int signs = 0;
  bool is_over = false;
};

TEST(HandoffSimulation, WhoeverWaitsForRoomOrForAPromptHearsThatTheWorkersGetOn) {
  World world(1);
  Network network;
  Node prefill(&world, &network, "prefill", /*blocks=*/200, /*batch=*/16);
  Node decode(&world, &network, "decode", /*blocks=*/100, /*batch=*/16);
  std::vector<std::shared_ptr<Listener>> all;
  const Time began = world.clock.now();
  for (uint32_t i = 0; i < 40; ++i) {
    GenerateRequest request;
    request.id = fmt::format("r{}", i);
    for (size_t token = 0; token < 100; ++token)
      request.prompt.tokens.push_back(static_cast<TokenId>((token * i + 3) % kVocab));
    request.stop.max_tokens = 2;
    request.silence_limit = milliseconds(800);
    request.prefill_at.push_back({1, prefill.card, ""});
    all.push_back(std::make_shared<Listener>(&world.clock));
    auto source = decode.decode->source_of(request);
    ASSERT_TRUE(decode.engine->submit(request, all.back(), {std::move(source), nullptr}).is_ok());
  }
  const auto are_over = [&] { return std::ranges::all_of(all, [](const auto& one) { return one->is_over; }); };
  while (!are_over()) {
    ASSERT_LT(world.clock.now(), began + seconds(60));
    world.settle();
    world.clock.advance_to_next();
  }
  EXPECT_GT(world.clock.now(), began + milliseconds(1600));
  for (const auto& one : all) EXPECT_LE(one->longest, milliseconds(800));
  EXPECT_GT(all.back()->signs, 4);
  for (const Time until = world.clock.now() + seconds(5); world.clock.now() < until && world.clock.advance_to_next();)
    world.settle();  // replies that are on their way
  EXPECT_EQ(decode.metrics.counter(kHandoffs, {{"end", "done"}}).Value(), 40);
  prefill.die();
  decode.die();
  while (world.clock.advance_to_next()) world.settle();
}

// A prompt of 40 tokens with two places to compute it, the first of which makes of its first token what `spoil` says: that is the last
// place but the one where it is decoded, which builds upon nothing that came.
void expect_computed_where_decoded(const std::function<Result<DrawnToken>(const kernels::Draw&, DrawnToken)>& spoil,
                                   const char* end) {
  World world(1);
  Network network;
  Node first(&world, &network, "first", /*blocks=*/100, /*batch=*/16);
  Node second(&world, &network, "second", /*blocks=*/100, /*batch=*/16);
  Node decode(&world, &network, "decode", /*blocks=*/100, /*batch=*/16);
  first.engine->runner().spoil = spoil;
  GenerateRequest request;
  request.id = "r";
  for (TokenId token = 0; token < 40; ++token) request.prompt.tokens.push_back(token);
  request.stop.max_tokens = 5;
  request.logprobs = 1;
  request.deadline = world.clock.now() + seconds(60);
  request.prefill_at = {{1, first.card, ""}, {2, second.card, ""}};
  const auto sink = std::make_shared<Collected>();
  ASSERT_TRUE(decode.engine->submit(request, sink, {decode.decode->source_of(request), nullptr}).is_ok());
  for (bool goes_on = true; goes_on && !sink->is_over(); goes_on = world.clock.advance_to_next()) world.settle();
  EXPECT_TRUE(sink->failure.is_ok()) << sink->failure.to_string();
  EXPECT_EQ(sink->tokens.size(), 5U);
  EXPECT_EQ(decode.engine->runner().rows, 40U + 4) << "what came of a broken computation is not built upon";
  EXPECT_GT(first.engine->runner().steps, 0U);
  EXPECT_EQ(second.engine->runner().steps, 0U);
  EXPECT_EQ(decode.metrics.counter(kLocalPrefills, {{"reason", end}}).Value(), 1);
  for (Node* node : {&first, &second, &decode}) node->die();
  while (world.clock.advance_to_next()) world.settle();
}

TEST(HandoffSimulation, APromptThatBreaksWhereItIsComputedIsTriedOnceMoreAndThatIsWhereItIsDecoded) {
  expect_computed_where_decoded(
      [](const kernels::Draw&, DrawnToken) -> Result<DrawnToken> { return internal("no numbers"); }, "refused");
}

TEST(HandoffSimulation, AFirstTokenWhoseLogProbabilitiesCannotBeItsIsAsBroken) {
  for (const auto& change : std::initializer_list<std::function<void(TokenLogprobs*)>>{
           [](TokenLogprobs* all) { all->drawn.token ^= 1; },
           [](TokenLogprobs* all) { all->drawn.logprob = NAN; },
           [](TokenLogprobs* all) { all->top = {{kVocab, -1}}; },
           [](TokenLogprobs* all) { all->top = {{0, NAN}}; },
       }) {
    expect_computed_where_decoded(
        [&](const kernels::Draw&, DrawnToken token) -> Result<DrawnToken> {
          token.logprobs.drawn = {token.token, -1};
          change(&token.logprobs);
          return token;
        },
        "wrong");
  }
}

TEST(HandoffSimulation, ASlowHandoffHoldsUpNoOtherOfItsPair) {
  World world(1);
  world.first_put_goes_on = world.clock.now() + seconds(10);
  Network network;
  Node prefill(&world, &network, "prefill", /*blocks=*/100, /*batch=*/16);
  Node decode(&world, &network, "decode", /*blocks=*/100, /*batch=*/16);
  std::vector<std::shared_ptr<Collected>> sinks;
  const auto ask = [&](size_t tokens) {
    GenerateRequest request;
    request.id = fmt::format("r{}", sinks.size());
    for (size_t i = 0; i < tokens; ++i)
      request.prompt.tokens.push_back(static_cast<TokenId>((i + sinks.size()) % kVocab));
    request.stop.max_tokens = 5;
    request.deadline = world.clock.now() + seconds(60);
    request.prefill_at.push_back({1, prefill.card, ""});
    sinks.push_back(std::make_shared<Collected>());
    auto source = decode.decode->source_of(request);
    ASSERT_TRUE(decode.engine->submit(request, sinks.back(), {std::move(source), nullptr}).is_ok());
  };
  const auto run_until = [&](Time until) {
    for (bool goes_on = true; goes_on && world.clock.now() < until; goes_on = world.clock.advance_to_next())
      world.settle();
  };
  const auto count_over = [&] { return std::ranges::count_if(sinks, [](const auto& one) { return one->is_over(); }); };
  const auto count_done = [&] { return decode.metrics.counter(kHandoffs, {{"end", "done"}}).Value(); };

  ask(40);
  run_until(world.clock.now() + milliseconds(200));  // all of it is computed
  for (size_t tokens : {1, 15, 16, 17, 40, 40, 40, 40}) ask(tokens);
  run_until(world.first_put_goes_on - seconds(5));
  EXPECT_EQ(count_over(), 8);
  EXPECT_EQ(count_done(), 8);
  EXPECT_FALSE(sinks.front()->is_over());
  run_until(world.first_put_goes_on + seconds(5));
  EXPECT_EQ(count_over(), 9);
  EXPECT_EQ(count_done(), 9);  // nothing was computed where it is decoded
  prefill.die();
  decode.die();
  run_until(Time::max());
}

}  // namespace
}  // namespace dynamo::handoff
