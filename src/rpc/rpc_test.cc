// The request plane on real sockets, two ends in one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/write.hpp>

#include <future>

#include "generate/testing/scripted_generator.h"
#include "rpc/channel.h"
#include "rpc/flow.h"
#include "rpc/notice.h"
#include "rpc/server.h"
#include "wire/frame.h"

namespace dynamo::rpc {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using ::testing::HasSubstr;

Time in(Duration duration) {
  return Clock::steady().now() + duration;
}

class RpcTest : public testing::Test {
 protected:
  RpcTest() { serve(0, {.name_space = "ns", .version = "1", .instance = 7}); }
  ~RpcTest() override {
    if (channel_)
      on_io([&]() -> Task<void> {
        channel_->stop();
        co_return;
      });
    stop_server();
  }

  void serve(uint16_t port, Identity identity, std::chrono::milliseconds silence_limit = 10s) {
    ServerOptions options;
    options.silence_limit = silence_limit;
    options.host = "127.0.0.1";
    options.port = port;
    options.identity = std::move(identity);
    auto server = Server::listen(options, &server_io_);
    CHECK_OK(server);
    server_ = std::move(server).value();
    server_->start([this](std::string request, ReplyStream* reply) { return answer(this, std::move(request), reply); });
    port_ = server_->port();
  }
  void stop_server() {
    if (server_) server_->stop(Clock::steady().now());
    server_.reset();
  }

  // "last moment": an end that comes at the same moment as the cancel. "echo X": X, twice. "hang": for ever. "flood": 64 KiB pieces for ever. "fail": kExhausted. "end X": X with the end.
  // "drip": a piece every 20 ms, for 3 s.
  static Task<Status> answer(RpcTest* test, std::string request, ReplyStream* reply) {
    struct Running {
      std::atomic<int>* count;
      explicit Running(std::atomic<int>* all) : count(all) { ++*count; }
      ~Running() { --*count; }
    } const running(&test->running_);
    if (request == "fail") co_return exhausted("full");
    if (request.starts_with("end ")) {
      reply->send_last(request.substr(4));
      co_return Status();
    }
    if (request == "hang") {
      Notice never(co_await boost::asio::this_coro::executor);
      co_await never.wait(Time::max());
    }
    if (request == "last moment") {
      const auto executor = co_await boost::asio::this_coro::executor;
      Notice moment(executor);
      boost::asio::post(executor, [&] {
        test->is_blocked_ = true;
        while (!test->is_cancelled_) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the cancel arrives
        boost::asio::post(executor, [&] { moment.notify(); });       // and is read after this, before what this wakes
      });
      co_await moment.wait(Time::max());
      reply->send_last("too late");
      co_return Status();
    }
    if (request == "drip") {
      boost::asio::steady_timer pause(co_await boost::asio::this_coro::executor);
      for (const Time until = in(3s); Clock::steady().now() < until;) {
        pause.expires_after(20ms);
        co_await pause.async_wait(boost::asio::use_awaitable);
        std::string piece = "x";
        const Status status = co_await reply->send(std::move(piece));
        if (!status.is_ok()) co_return status;
      }
      co_return Status();
    }
    while (request == "flood") {
      std::string piece(64U << 10, 'x');
      const Status status = co_await reply->send(std::move(piece));
      if (!status.is_ok()) co_return status;
      ++test->flooded_;
    }
    for (int i = 0; i < 2; ++i) {
      std::string piece = request.substr(5);
      const Status status = co_await reply->send(std::move(piece));
      if (!status.is_ok()) co_return status;
    }
    co_return Status();
  }

  ChannelOptions options() const {
    ChannelOptions options;
    options.address = fmt::format("127.0.0.1:{}", port_);
    options.identity = {.name_space = "ns", .version = "2", .instance = 0};
    options.expected_instance = 7;
    options.silence_limit = 20s;  // a machine that is busy with other tests is not dead
    return options;
  }
  void connect(ChannelOptions options) {
    channel_ = Channel::create(io_.at(0).get_executor(), std::move(options));
    on_io([&]() -> Task<void> {
      channel_->start();
      co_return;
    });
  }
  // Runs a coroutine on the channel's thread and waits for it.
  template <class Function>
  void on_io(Function function) {
    std::promise<void> done;
    boost::asio::co_spawn(io_.at(0), function(), [&](std::exception_ptr failure) {
      CHECK(failure == nullptr);
      done.set_value();
    });
    done.get_future().get();
  }
  Status wait_connected(Duration limit = 10s) {
    Status status;
    on_io([&]() -> Task<void> { status = co_await channel_->wait_connected(in(limit)); });
    return status;
  }
  // All pieces of one answer, joined.
  Result<std::string> ask(std::string request, Duration limit = 10s) {
    Result<std::string> out;
    on_io([&]() -> Task<void> { out = co_await read_all(channel_.get(), std::move(request), in(limit)); });
    return out;
  }
  static Task<Result<std::string>> read_all(Channel* channel, std::string request, Time until) {
    auto stream = channel->open(std::move(request));
    if (!stream.is_ok()) co_return stream.status();
    std::string all;
    for (;;) {
      auto piece = co_await (*stream)->next(until);
      if (!piece.is_ok()) co_return piece.status();
      if (!piece->has_value()) co_return all;
      all += **piece;
    }
  }
  template <class Predicate>
  static void wait_for(Predicate is_so) {
    const Time until = in(10s);
    while (!is_so()) {
      ASSERT_LT(Clock::steady().now(), until);
      std::this_thread::sleep_for(1ms);
    }
  }

  std::atomic<bool> is_blocked_{false};
  std::atomic<bool> is_cancelled_{false};
  std::atomic<int> running_{0};
  std::atomic<int> flooded_{0};
  IoThreads server_io_{2};
  IoThreads io_{1};
  std::unique_ptr<Server> server_;
  uint16_t port_ = 0;
  std::shared_ptr<Channel> channel_;
};

TEST_F(RpcTest, RequestsShareOneConnectionAndEachGetsItsOwnAnswer) {
  connect(options());
  ASSERT_TRUE(wait_connected().is_ok());
  on_io([&]() -> Task<void> {
    std::vector<std::unique_ptr<Stream>> streams;
    for (int i = 0; i < 500; ++i) streams.push_back(channel_->open(fmt::format("echo {};", i)).value());
    for (int i = 0; i < 500; ++i) {
      std::string all;
      for (;;) {
        auto piece = co_await streams[i]->next(in(10s));
        CHECK_OK(piece);
        if (!piece->has_value()) break;
        all += **piece;
      }
      EXPECT_EQ(all, fmt::format("{};{};", i, i));
    }
  });
  EXPECT_EQ(server_->connections(), 1U);
  wait_for([&] { return running_ == 0 && server_->streams() == 0; });
}

TEST_F(RpcTest, AFailureKeepsItsCodeAndTextAndALastPieceComesWithTheEnd) {
  connect(options());
  ASSERT_TRUE(wait_connected().is_ok());
  EXPECT_EQ(ask("fail").status().to_string(), exhausted("full").to_string());
  EXPECT_EQ(ask("end bye").value(), "bye");
}

TEST_F(RpcTest, AnAnswerThatIsLateIsADeadlineAndItsRequestIsCancelled) {
  connect(options());
  ASSERT_TRUE(wait_connected().is_ok());
  EXPECT_EQ(ask("hang", 50ms).status().code(), Code::kDeadline);
  wait_for([&] { return running_ == 0; });
  EXPECT_EQ(ask("echo a").value(), "aa");
}

TEST_F(RpcTest, AnAskerThatDoesNotReadHoldsBackTheAnswerAndNothingElse) {
  connect(options());
  ASSERT_TRUE(wait_connected().is_ok());
  std::unique_ptr<Stream> flood;
  on_io([&]() -> Task<void> {
    flood = channel_->open("flood").value();
    co_return;
  });
  wait_for([&] { return flooded_ == kStreamWindow / (64U << 10); });
  EXPECT_EQ(ask("echo b").value(), "bb");
  EXPECT_EQ(flooded_, kStreamWindow / (64U << 10));
  on_io([&]() -> Task<void> {
    for (int i = 0; i < 20; ++i) CHECK_OK(co_await flood->next(in(10s)));
    flood.reset();
  });
  wait_for([&] { return running_ == 0; });
  EXPECT_GE(flooded_, 20);
}

TEST_F(RpcTest, AnEndThatComesAtTheMomentOfACancelIsNotSent) {
  connect(options());
  ASSERT_TRUE(wait_connected().is_ok());
  std::unique_ptr<Stream> stream;
  on_io([&]() -> Task<void> {
    stream = channel_->open("last moment").value();
    co_return;
  });
  wait_for([&] { return is_blocked_.load(); });
  on_io([&]() -> Task<void> {
    stream.reset();
    co_return;
  });
  is_cancelled_ = true;
  const auto after = ask("echo still there.");
  ASSERT_TRUE(after.is_ok()) << after.status().to_string();
  EXPECT_EQ(*after, "still there.still there.");
  wait_for([&] { return running_ == 0 && server_->streams() == 0; });
}

TEST_F(RpcTest, ABrokenConnectionEndsItsRequestsAndIsMadeAgain) {
  connect(options());
  ASSERT_TRUE(wait_connected().is_ok());
  Result<std::string> broken;
  std::thread asker([&] { broken = ask("hang"); });
  wait_for([&] { return running_ == 1; });
  const uint16_t port = port_;
  stop_server();
  asker.join();
  EXPECT_EQ(broken.status().code(), Code::kUnavailable);
  EXPECT_EQ(running_, 0);
  EXPECT_EQ(ask("echo c").status().code(), Code::kUnavailable);
  serve(port, {.name_space = "ns", .version = "1", .instance = 7});
  ASSERT_TRUE(wait_connected().is_ok());
  EXPECT_EQ(ask("echo c").value(), "cc");
}

TEST_F(RpcTest, AStoppingServerLetsRunningRequestsFinishAndRefusesOthers) {
  connect(options());
  ASSERT_TRUE(wait_connected().is_ok());
  Result<std::string> running;
  std::unique_ptr<Stream> flood;
  on_io([&]() -> Task<void> {
    flood = channel_->open("flood").value();
    co_return;
  });
  wait_for([&] { return flooded_ > 0; });
  std::thread stopper([&] { server_->stop(in(10s)); });
  wait_for([&] { return ask("echo d").status().code() == Code::kUnavailable; });
  EXPECT_EQ(running_, 1);
  on_io([&]() -> Task<void> {
    CHECK_OK(co_await flood->next(in(10s)));
    flood.reset();
  });
  stopper.join();
  EXPECT_EQ(running_, 0);
}

TEST_F(RpcTest, AnotherNamespaceInstanceOrProtocolIsRefusedWithBothValues) {
  const auto refused = [&](auto change) {
    ChannelOptions wrong = options();
    change(&wrong);
    connect(wrong);
    const Status status = wait_connected(300ms);
    on_io([&]() -> Task<void> {
      channel_->stop();
      co_return;
    });
    EXPECT_EQ(status.code(), Code::kInvalid);
    return status.text();
  };
  EXPECT_THAT(refused([](ChannelOptions* o) { o->identity.name_space = "other"; }), HasSubstr("'other'"));
  EXPECT_THAT(refused([](ChannelOptions* o) { o->expected_instance = 0xabc; }), HasSubstr("0000000000000abc"));
}

TEST_F(RpcTest, APeerThatTakesTheConnectionAndSaysNothingIsTakenForDead) {
  tcp::acceptor mute(io_.at(0), tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
  ChannelOptions to_mute = options();
  to_mute.address = fmt::format("127.0.0.1:{}", mute.local_endpoint().port());
  to_mute.ping_interval = 20ms;
  to_mute.silence_limit = 100ms;
  connect(to_mute);
  wait_for([&] { return wait_connected(200ms).text().find("does not say hello") != std::string::npos; });
}

TEST_F(RpcTest, APeerThatTricklesBytesMustStillSayHelloInTime) {
  tcp::acceptor slow(io_.at(0), tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
  ChannelOptions to_slow = options();
  to_slow.address = fmt::format("127.0.0.1:{}", slow.local_endpoint().port());
  to_slow.ping_interval = 20ms;
  to_slow.connect_timeout = 200ms;
  connect(to_slow);
  tcp::socket socket = slow.accept();
  const std::string start_of_hello("\xff\0\0\0\1\0\0\0\0\0\0\0", 12);
  boost::asio::write(socket, boost::asio::buffer(start_of_hello));
  wait_for([&] {
    boost::system::error_code ignored;
    socket.write_some(boost::asio::buffer("x", 1), ignored);
    return wait_connected(10ms).text().find("does not say hello") != std::string::npos;
  });
}

TEST_F(RpcTest, APeerThatFallsSilentIsNoticed) {
  // A relay that stops relaying.
  std::atomic<bool> relays{true};
  std::promise<void> is_over;
  boost::asio::io_context relay_io(1);
  tcp::acceptor acceptor(relay_io, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
  const uint16_t relay_port = acceptor.local_endpoint().port();
  std::thread relay([&] {
    tcp::socket near = acceptor.accept();
    tcp::socket far(relay_io);
    far.connect(tcp::endpoint(boost::asio::ip::address_v4::loopback(), port_));
    near.non_blocking(true);
    far.non_blocking(true);
    char bytes[4096];
    while (relays) {
      boost::system::error_code error;
      for (auto [from, to] : {std::pair(&near, &far), std::pair(&far, &near)}) {
        const size_t count = from->read_some(boost::asio::buffer(bytes), error);
        if (count > 0) boost::asio::write(*to, boost::asio::buffer(bytes, count), error);
      }
      std::this_thread::sleep_for(1ms);
    }
    is_over.get_future().wait();
  });
  ChannelOptions through = options();
  through.address = fmt::format("127.0.0.1:{}", relay_port);
  through.ping_interval = 20ms;
  through.silence_limit = 200ms;
  connect(through);
  ASSERT_TRUE(wait_connected().is_ok());
  EXPECT_EQ(ask("echo e").value(), "ee");
  relays = false;
  EXPECT_THAT(ask("hang").status().text(), HasSubstr("says nothing"));
  EXPECT_FALSE(channel_->is_connected());
  is_over.set_value();
  relay.join();
}

TEST_F(RpcTest, AnAnswerThatFlowsForLongerThanTheSilenceLimitIsNotCutOff) {
  stop_server();
  serve(0, {.name_space = "ns", .version = "1", .instance = 7}, /*silence_limit=*/1s);
  ChannelOptions to_it = options();
  to_it.ping_interval = 100ms;
  connect(to_it);
  ASSERT_TRUE(wait_connected().is_ok());
  const auto dripped = ask("drip", 30s);
  ASSERT_TRUE(dripped.is_ok()) << dripped.status().to_string();
  EXPECT_GT(dripped->size(), 10U);
}

TEST_F(RpcTest, ARetiredChannelLetsItsRequestsEndAndThenLeaves) {
  connect(options());
  ASSERT_TRUE(wait_connected().is_ok());
  std::unique_ptr<Stream> flood;
  on_io([&]() -> Task<void> {
    flood = channel_->open("flood").value();
    channel_->retire();
    CHECK(channel_->open("echo x").status().code() == Code::kUnavailable);
    for (int i = 0; i < 10; ++i) CHECK_OK(co_await flood->next(in(10s)));
    CHECK(channel_->is_connected());
    flood.reset();
  });
  wait_for([&] { return server_->connections() == 0 && running_ == 0; });
}

// The hello of a program from another time.
std::string another_protocol() {
  std::string frame;
  wire::append_frame(wire::FrameType::kHello, 0, "\x08\x63\x12\x02ns", &frame);
  return frame;
}

TEST_F(RpcTest, ATakenPortIsNamedWithTheRemedy) {
  ServerOptions options;
  options.host = "127.0.0.1";
  options.port = port_;
  const auto second = Server::listen(options, &server_io_);
  EXPECT_EQ(second.status().code(), Code::kUnavailable);
  EXPECT_THAT(second.status().text(), HasSubstr(std::to_string(port_)));
  EXPECT_THAT(second.status().text(), HasSubstr("choose another port"));
}

TEST_F(RpcTest, GarbageEndsTheConnectionAndNoOther) {
  connect(options());
  ASSERT_TRUE(wait_connected().is_ok());
  for (const std::string& bytes : {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(64, '\xFF'),
                                   std::string(12, '\0') + "x", another_protocol()}) {
    boost::asio::io_context io;
    tcp::socket socket(io);
    socket.connect(tcp::endpoint(boost::asio::ip::address_v4::loopback(), port_));
    boost::asio::write(socket, boost::asio::buffer(bytes));
    boost::system::error_code error;
    std::string reply(4096, '\0');
    while (!error) socket.read_some(boost::asio::buffer(reply), error);
    EXPECT_TRUE(error == boost::asio::error::eof || error == boost::asio::error::connection_reset) << error.message();
  }
  EXPECT_EQ(ask("echo f").value(), "ff");
}

}  // namespace
}  // namespace dynamo::rpc
