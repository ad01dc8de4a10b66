// Connections to prefill workers, on real sockets.
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>

#include "base/testing/patience.h"
#include "handoff/prefill_peers.h"
#include "rpc/server.h"
#include "wire/reply.h"

namespace dynamo::handoff {
namespace {

constexpr uint64_t kInstance = 7;

// A process that says that it is instance 7, and answers with its name.
class Claimant {
 public:
  Claimant(std::string name, IoThreads* io) {
    rpc::ServerOptions options;
    options.host = "127.0.0.1";
    options.identity = {.name_space = "ns", .version = "1", .instance = kInstance};
    server_ = std::move(rpc::Server::listen(std::move(options), io)).value();
    server_->start([this, name](std::string, rpc::ReplyStream* reply) -> Task<Status> {
      ++asked_;
      return answer(name, reply);
    });
  }
  ~Claimant() { server_->stop(Clock::steady().now()); }
  PrefillPlace place() const { return {kInstance, "prefill-worker-1", fmt::format("127.0.0.1:{}", server_->port())}; }
  int asked() const { return asked_; }
  uint32_t connections() const { return server_->connections(); }

 private:
  static Task<Status> answer(std::string name, rpc::ReplyStream* reply) {
    PrefillReport report;
    report.backend = std::move(name);
    reply->send_last(wire::prefill_reply(report));
    co_return Status();
  }
  std::atomic<int> asked_{0};
  std::unique_ptr<rpc::Server> server_;
};

class RemotePeersTest : public testing::Test {
 protected:
  RemotePeersTest()
      : peers_(make_remote_peers(io_.at(0).get_executor(), {.name_space = "ns", .version = "1", .instance = 0})) {}
  ~RemotePeersTest() override {
    boost::asio::post(io_.at(0), [this] { peers_.reset(); });
    EXPECT_TRUE(wait_until([this] { return real_.connections() == 0 && stranger_.connections() == 0; }));
  }
  Result<std::string> ask(PrefillPlace place) {
    const auto call = [](PrefillPeers* peers, PrefillPlace to) -> Task<Result<std::string>> {
      auto asked = rpc::Asked::kNotSent;
      PrefillOrder order;
      order.request.prompt.tokens = {1, 2, 3};
      const auto report = co_await peers->ask(std::move(to), std::move(order), soon(), &asked);
      if (!report.is_ok()) co_return report.status();
      CHECK(asked == rpc::Asked::kAnswered);
      co_return report->backend;
    };
    return boost::asio::co_spawn(io_.at(0), call(peers_.get(), std::move(place)), boost::asio::use_future).get();
  }

  IoThreads server_io_{1};
  Claimant real_{"real", &server_io_};
  Claimant stranger_{"stranger", &server_io_};
  IoThreads io_{1};
  std::unique_ptr<PrefillPeers> peers_;
};

TEST_F(RemotePeersTest, APromptGoesToTheAddressOfItsPlaceWhoeverWasNamedBefore) {
  EXPECT_EQ(ask(stranger_.place()).value(), "stranger");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(real_.place()).value(), "real");
  EXPECT_EQ(stranger_.asked(), 1);
  EXPECT_EQ(ask(stranger_.place()).value(), "stranger");
}

TEST_F(RemotePeersTest, AConnectionIsUsedAgain) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(real_.place()).value(), "real");
  EXPECT_EQ(real_.connections(), 1U);
}

}  // namespace
}  // namespace dynamo::handoff
