// The request plane behind a bad network: the asking end here, the answering end in a process of its own, our proxy between them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <future>
#include <random>
#include <thread>

#include "rpc/channel.h"
#include "rpc/flow.h"
#include "rpc/notice.h"
#include "rpc/server.h"
#include "rpc/testing/bad_network_proxy.h"

extern char** environ;

namespace dynamo::rpc {
namespace {

using namespace std::chrono_literals;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr const char* kPortVariable = "DYNAMO_TEST_PORT_FD";  // set for the answering process: where to tell its port
constexpr Duration kPatience = 60s;                           // for what must happen, on a machine however busy

Time in(Duration duration) {
  return Clock::steady().now() + duration;
}

// ---- what is asked and answered ----

// An answer of pieces that both ends can compute. As a request: "answer SEED PIECES MOST_BYTES".
struct Answer {
  uint32_t seed = 0;
  uint32_t pieces = 0;
  uint32_t most_bytes = 0;

  std::string request() const { return fmt::format("answer {} {} {}", seed, pieces, most_bytes); }
  std::string piece(uint32_t index) const {
    std::seed_seq seeds{seed, index};
    std::mt19937 random(seeds);
    std::string bytes(1 + random() % most_bytes, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
  }
};

// What the answering process did, by request "state".
struct State {
  uint32_t streams = 0;      // but for this request's
  uint32_t connections = 0;  // this one's too
  uint32_t cancelled = 0;    // requests so far that were dropped before they had ended
  uint64_t flooded = 0;      // bytes that "flood" requests could send so far
};

std::vector<uint64_t> numbers_of(std::string_view text) {
  std::vector<uint64_t> numbers;
  for (const char* at = text.data(); at < text.data() + text.size();) {
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(at, text.data() + text.size(), number);
    if (error == std::errc()) numbers.push_back(number);
    at = error == std::errc() ? end : at + 1;
  }
  return numbers;
}

class Answerer {
 public:
  Answerer() {
    ServerOptions options;
    options.host = "127.0.0.1";
    options.identity = {.name_space = "ns", .version = "1", .instance = 7};
    options.silence_limit = 3s;
    auto server = Server::listen(options, &io_);
    CHECK_OK(server);
    server_ = std::move(server).value();
    server_->start([this](std::string request, ReplyStream* reply) { return answer(this, std::move(request), reply); });
  }
  ~Answerer() { server_->stop(Clock::steady().now()); }
  uint16_t port() const { return server_->port(); }

 private:
  struct Running {
    Answerer* answerer;
    bool has_ended = false;
    ~Running() {
      if (!has_ended) ++answerer->cancelled_;
    }
  };

  static Task<Status> answer(Answerer* self, std::string request, ReplyStream* reply) {
    if (request == "state") {
      reply->send_last(fmt::format("{} {} {} {}", self->server_->streams() - 1, self->server_->connections(),
                                   self->cancelled_.load(), self->flooded_.load()));
      co_return Status();
    }
    Running running{self};
    if (request == "hang") {
      Notice never(co_await boost::asio::this_coro::executor);
      for (;;) co_await never.wait(Time::max());
    }
    while (request == "flood") {
      std::string piece(64U << 10, 'x');
      Status status = co_await reply->send(std::move(piece));
      if (!status.is_ok()) co_return status;
      self->flooded_ += 64U << 10;
    }
    const auto numbers = numbers_of(request);
    CHECK(request.starts_with("answer ") && numbers.size() == 3);
    const Answer wanted{static_cast<uint32_t>(numbers[0]), static_cast<uint32_t>(numbers[1]),
                        static_cast<uint32_t>(numbers[2])};
    for (uint32_t i = 0; i < wanted.pieces; ++i) {
      std::string piece = wanted.piece(i);
      if (i + 1 == wanted.pieces && wanted.seed % 2 == 0) {
        reply->send_last(std::move(piece));
        break;
      }
      Status status = co_await reply->send(std::move(piece));
      if (!status.is_ok()) co_return status;
    }
    running.has_ended = true;
    co_return Status();
  }

  IoThreads io_{2};
  std::unique_ptr<Server> server_;
  std::atomic<uint32_t> cancelled_{0};
  std::atomic<uint64_t> flooded_{0};
};

// ---- the answering process: this program again, with this one test ----

TEST(BadNetworkAnswerer, DISABLED_AnswersUntilItsInputEnds) {
  const char* told = std::getenv(kPortVariable);
  if (told == nullptr) GTEST_SKIP() << "it is started by the tests of BadNetwork";
  const Answerer answerer;
  const uint16_t port = answerer.port();
  ASSERT_EQ(write(std::atoi(told), &port, sizeof(port)), ssize_t{sizeof(port)});
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
}

class AnsweringProcess {
 public:
  AnsweringProcess() {
    int input[2];
    int port[2];
    CHECK(pipe2(input, O_CLOEXEC) == 0 && pipe2(port, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, port[1], kPortDescriptor);
    std::vector<char*> environment;
    for (char** one = environ; *one != nullptr; ++one) environment.push_back(*one);
    std::string variable = fmt::format("{}={}", kPortVariable, int{kPortDescriptor});
    environment.push_back(variable.data());
    environment.push_back(nullptr);
    std::string name = "answering_process";
    std::string filter = "--gtest_filter=BadNetworkAnswerer.*";
    std::string also_disabled = "--gtest_also_run_disabled_tests";
    std::string is_brief = "--gtest_brief=1";
    std::array<char*, 5> arguments{name.data(), filter.data(), also_disabled.data(), is_brief.data(), nullptr};
    CHECK(posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments.data(), environment.data()) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(input[0]);
    close(port[1]);
    input_ = input[1];
    CHECK(read(port[0], &port_, sizeof(port_)) == ssize_t{sizeof(port_)});
    close(port[0]);
  }
  // It must end well: without a CHECK that failed, or what a sanitizer found.
  ~AnsweringProcess() {
    close(input_);
    int status = 0;
    CHECK(waitpid(pid_, &status, 0) == pid_);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the answering process ended with " << status;
  }
  AnsweringProcess(const AnsweringProcess&) = delete;
  AnsweringProcess& operator=(const AnsweringProcess&) = delete;
  uint16_t port() const { return port_; }

 private:
  static constexpr int kPortDescriptor = 3;
  pid_t pid_ = 0;
  int input_ = -1;
  uint16_t port_ = 0;
};

// ---- the asking end ----

class BadNetwork : public testing::Test {
 protected:
  ~BadNetwork() override {
    for (const auto& channel : {channel_, direct_})
      if (channel)
        on_io([channel]() -> Task<void> {
          channel->stop();
          co_return;
        });
  }

  void connect(uint32_t seed, Weather weather, Duration silence_limit = 30s) {
    proxy_ = std::make_unique<BadNetworkProxy>(process_.port(), seed);
    proxy_->set(weather);
    channel_ = open_channel(proxy_->port(), silence_limit);
    if (!direct_) direct_ = open_channel(process_.port(), 30s);
  }
  std::shared_ptr<Channel> open_channel(uint16_t port, Duration silence_limit) {
    ChannelOptions options;
    options.address = fmt::format("127.0.0.1:{}", port);
    options.identity = {.name_space = "ns", .version = "2", .instance = 0};
    options.expected_instance = 7;
    options.connect_timeout = 10s;
    options.ping_interval = 50ms;
    options.silence_limit = std::chrono::duration_cast<std::chrono::milliseconds>(silence_limit);
    options.first_pause = 5ms;
    options.longest_pause = 50ms;
    auto channel = Channel::create(io_.at(0).get_executor(), std::move(options));
    on_io([channel]() -> Task<void> {
      channel->start();
      co_return;
    });
    return channel;
  }

  // Runs a coroutine on the channels' thread and waits for it.
  template <class Function>
  void on_io(Function function) {
    start(std::move(function)).get();
  }
  template <class Function>
  std::future<void> start(Function function) {
    auto kept = std::make_shared<Function>(std::move(function));
    auto done = std::make_shared<std::promise<void>>();
    boost::asio::co_spawn(io_.at(0), (*kept)(), [kept, done](std::exception_ptr failure) {
      CHECK(failure == nullptr);
      done->set_value();
    });
    return done->get_future();
  }

  // Asks, takes at most `most_pieces`, and checks each. Returns: how it ended; ok also for one that was left early.
  static Task<Status> ask(Channel* channel, Answer wanted, uint32_t most_pieces, Time until) {
    auto stream = channel->open(wanted.request());
    if (!stream.is_ok()) co_return stream.status();
    for (uint32_t taken = 0; taken < most_pieces; ++taken) {
      auto piece = co_await (*stream)->next(until);
      if (!piece.is_ok()) co_return piece.status();
      if (!piece->has_value()) co_return taken == wanted.pieces ? Status() : internal("pieces are missing at the end");
      if (taken >= wanted.pieces || **piece != wanted.piece(taken)) co_return internal("a piece is wrong");
    }
    co_return Status();
  }
  // Waits for a connection and for one whole right answer on it, however often it must begin again.
  Status ask_until_right(Answer wanted) {
    Status status;
    on_io([&]() -> Task<void> {
      const Time until = in(kPatience);
      do {
        status = co_await channel_->wait_connected(until);
        if (status.is_ok()) status = co_await ask(channel_.get(), wanted, ~0U, until);
      } while (status.code() == Code::kUnavailable && Clock::steady().now() < until);
    });
    return status;
  }

  State state() {
    std::string text;
    on_io([&]() -> Task<void> {
      CHECK((co_await direct_->wait_connected(in(kPatience))).is_ok());
      auto stream = direct_->open("state");
      CHECK_OK(stream);
      auto piece = co_await (*stream)->next(in(kPatience));
      CHECK_OK(piece);
      text = piece->value();
    });
    const auto numbers = numbers_of(text);
    CHECK(numbers.size() == 4);
    return {static_cast<uint32_t>(numbers[0]), static_cast<uint32_t>(numbers[1]), static_cast<uint32_t>(numbers[2]),
            numbers[3]};
  }
  template <class Predicate>
  static bool comes_true(Predicate is_so) {
    const Time until = in(kPatience);
    while (!is_so()) {
      if (Clock::steady().now() >= until) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }

  IoThreads io_{1};
  AnsweringProcess process_;
  std::unique_ptr<BadNetworkProxy> proxy_;
  std::shared_ptr<Channel> channel_;  // through the proxy
  std::shared_ptr<Channel> direct_;
};

// Many requests at once, one after another on a connection that is cut again and again; some are left early, some late.
TEST_F(BadNetwork, EveryRequestEndsWithTheWholeAnswerOrAnError) {
  constexpr uint32_t kLongestPieces[] = {1, 3, 40, 1500, 65536};
  uint32_t cuts = 0;
  uint32_t whole = 0;
  uint32_t broken = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    Weather weather;
    weather.longest_piece = kLongestPieces[seed % std::size(kLongestPieces)];
    if (random() % 4 == 0) weather.longest_delay = weather.longest_piece < 100 ? 50us : 2000us;
    // What is asked for in all: enough pieces of the network, but not millions of them.
    const uint32_t most_bytes = std::min<uint32_t>(kLargestPiece, 1 + weather.longest_piece * (1 + random() % 20));
    if (seed % 4 != 0) weather.cut_within = 60 + uint64_t{most_bytes} * (1 + random() % 100);
    connect(seed, weather);
    std::vector<std::future<void>> askers;
    for (uint32_t i = 0; i < 8; ++i) {
      askers.push_back(start([&, this, number = i, local = std::mt19937(seed * 8 + i)]() mutable -> Task<void> {
        for (int round = 0; round < 3; ++round) {
          const Answer wanted{static_cast<uint32_t>(local()), static_cast<uint32_t>(local() % 20), most_bytes};
          const uint32_t most_pieces = local() % 4 == 0 ? local() % 10 : ~0U;
          const bool is_short = local() % 8 == 0;
          static_cast<void>(co_await channel_->wait_connected(in(kPatience)));
          const Status status =
              co_await ask(channel_.get(), wanted, most_pieces, in(is_short ? Duration(3ms) : kPatience));
          ++(status.is_ok() ? whole : broken);
          EXPECT_THAT(status.code(), AnyOf(Code::kOk, Code::kUnavailable, Code::kDeadline))
              << "seed " << seed << ", asker " << number << ": " << status.to_string();
          EXPECT_TRUE(is_short || status.code() != Code::kDeadline);
        }
      }));
    }
    for (auto& one : askers) one.get();
    // The weather clears up: once the last bad connection is cut, requests succeed.
    proxy_->set({});
    proxy_->cut_all();
    const Answer last{seed, 20, kLargestPiece};
    const Status status = ask_until_right(last);
    ASSERT_TRUE(status.is_ok()) << "seed " << seed << ": " << status.to_string();
    cuts += proxy_->cuts();
    on_io([&]() -> Task<void> {
      channel_->stop();
      co_return;
    });
  }
  EXPECT_TRUE(comes_true([&] { return state().streams == 0 && state().connections == 1; }));
  EXPECT_GT(cuts, 50U);  // the network was as bad as is meant
  EXPECT_GT(whole, 200U);
  EXPECT_GT(broken, 200U);
}

TEST_F(BadNetwork, BytesThatComeOneByOneAreTheSameAnswer) {
  connect(1, {.longest_piece = 1});
  const Status status = ask_until_right({1, 30, 1000});
  EXPECT_TRUE(status.is_ok()) << status.to_string();
}

TEST_F(BadNetwork, ACancelReachesTheOtherEndWithinAnyPieces) {
  connect(2, {.longest_piece = 5, .longest_delay = 200us});
  on_io([&]() -> Task<void> {
    CHECK((co_await channel_->wait_connected(in(kPatience))).is_ok());
    for (int i = 0; i < 50; ++i) {
      const auto dropped = channel_->open("hang");
      CHECK_OK(dropped);
    }
  });
  EXPECT_TRUE(comes_true([&] { return state().cancelled == 50; }));
  EXPECT_EQ(state().streams, 0U);
}

struct Stall {
  const char* name;
  bool to_server;
  bool to_asker;
};
class StalledNetwork : public BadNetwork, public testing::WithParamInterface<Stall> {};

TEST_P(StalledNetwork, IsNoticedByBothEndsAndLeftBehind) {
  constexpr Duration kSilenceLimit = 1s;
  connect(3, {}, kSilenceLimit);
  ASSERT_TRUE(ask_until_right({3, 3, 100}).is_ok());
  Status hanging;
  Status answering;
  Time stalled_at;
  Time noticed_at;
  std::unique_ptr<Stream> stream;
  on_io([&]() -> Task<void> {
    stream = channel_->open("hang").value();
    co_return;
  });
  ASSERT_TRUE(comes_true([&] { return state().streams == 1; }));
  on_io([&]() -> Task<void> {
    stalled_at = Clock::steady().now();
    proxy_->stall(GetParam().to_server, GetParam().to_asker);
    auto other = channel_->open(Answer{4, 100, kLargestPiece}.request());
    CHECK_OK(other);
    hanging = (co_await stream->next(in(kPatience))).status();
    noticed_at = Clock::steady().now();
    while (answering.is_ok()) {
      auto piece = co_await (*other)->next(in(kPatience));
      answering = piece.is_ok() && !piece->has_value() ? internal("it ended well") : piece.status();
    }
  });
  EXPECT_EQ(hanging.code(), Code::kUnavailable);
  EXPECT_THAT(hanging.text(), HasSubstr("says nothing"));
  EXPECT_EQ(answering.code(), Code::kUnavailable) << answering.to_string();
  // Pings may have been answered just before; that it took no less says that it was silence which ended it.
  EXPECT_GE(noticed_at - stalled_at, kSilenceLimit / 2);
  // The other end hears of nothing, not even of the connection's end, and lets its streams go after its own limit.
  EXPECT_TRUE(comes_true([&] { return state().streams == 0; }));
  proxy_->stall(false, false);
  const Status after = ask_until_right({5, 20, kLargestPiece});
  EXPECT_TRUE(after.is_ok()) << after.to_string();
}

INSTANTIATE_TEST_SUITE_P(All, StalledNetwork,
                         testing::Values(Stall{"BothWays", true, true}, Stall{"ToTheServer", true, false},
                                         Stall{"ToTheAsker", false, true}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(BadNetwork, AStallThatIsShortLosesNothing) {
  connect(6, {});
  ASSERT_TRUE(ask_until_right({6, 3, 100}).is_ok());
  for (int i = 0; i < 5; ++i) {
    proxy_->stall(true, true);
    auto asked = start([&]() -> Task<void> {
      const Answer wanted{7, 50, kLargestPiece};
      const Status status = co_await ask(channel_.get(), wanted, ~0U, in(kPatience));
      EXPECT_TRUE(status.is_ok()) << status.to_string();
    });
    EXPECT_EQ(asked.wait_for(20ms), std::future_status::timeout);
    proxy_->stall(false, false);
    asked.get();
  }
}

// 256 answers without end may each have a window on its way, 64 MiB in all; a network that takes nothing gets far less of it.
TEST_F(BadNetwork, WhatIsUnsentIsBoundedWhileTheNetworkTakesNothing) {
  connect(8, {});
  ASSERT_TRUE(ask_until_right({8, 3, 100}).is_ok());
  proxy_->stall(false, true);
  std::vector<std::unique_ptr<Stream>> floods;
  on_io([&]() -> Task<void> {
    for (int i = 0; i < 256; ++i) floods.push_back(channel_->open("flood").value());
    co_return;
  });
  EXPECT_TRUE(comes_true([&] { return state().streams == 256 && state().flooded >= 1U << 20; }));
  uint64_t before = 0;
  EXPECT_TRUE(comes_true([&] {
    const uint64_t now = state().flooded;
    std::this_thread::sleep_for(20ms);
    return std::exchange(before, now) == now;
  }));
  EXPECT_LT(before, 16U << 20);
  // An asker that then reads gets on with all of them.
  proxy_->stall(false, false);
  on_io([&]() -> Task<void> {
    for (int piece = 0; piece < 6; ++piece)
      for (const auto& flood : floods) CHECK_OK(co_await flood->next(in(kPatience)));
    floods.clear();
  });
  EXPECT_TRUE(comes_true([&] { return state().streams == 0; }));
}

}  // namespace
}  // namespace dynamo::rpc
