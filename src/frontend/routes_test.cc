#include "frontend/routes.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>

#include <future>

#include "base/testing/patience.h"
#include "http/client.h"

namespace dynamo::frontend {
namespace {

namespace asio = boost::asio;

// Whose explanation takes until `is_served`.
class SlowFrontend final : public Frontend {
 public:
  void stop() override {}
  bool is_warm() const override { return true; }
  bool is_ready() const override { return true; }
  std::shared_ptr<const openai::ServedModel> find(std::string_view) const override { return nullptr; }
  std::vector<std::shared_ptr<const openai::ServedModel>> list() const override { return {}; }
  boost::json::array instances() const override { return {}; }
  boost::json::array explain(size_t last, const std::string& request_id) const override {
    has_begun.set_value();
    const bool was_served = is_served.wait_for(kPatience) == std::future_status::ready;
    return {last, request_id, was_served};
  }
  Task<boost::json::array> clear_blocks(Time) override { co_return boost::json::array{}; }

  mutable std::promise<void> has_begun;
  std::shared_future<void> is_served;
};

Task<std::string> fetch(http::Client* client, std::string method, std::string path) {
  http::Headers headers;
  std::string body;
  auto response =
      co_await client->fetch(std::move(method), std::move(path), std::move(headers), std::move(body), soon());
  co_return response.is_ok() ? response->body : response.status().to_string();
}

TEST(Routes, WhileDecisionsAreExplainedTheThreadServesOthers) {
  IoThreads server_io(1);  // one thread for all connections
  IoThreads io(1);
  http::ServerOptions options;
  options.host = "127.0.0.1";
  options.port = 0;
  auto server = std::move(http::Server::listen(options, &server_io)).value();
  SlowFrontend frontend;
  std::promise<void> served;
  frontend.is_served = served.get_future().share();
  std::future<void> has_begun = frontend.has_begun.get_future();
  add_routes(server.get(), &frontend);
  server->start();
  const http::Url url{.server = {"127.0.0.1", server->port()}};
  http::Client slow(io.at(0).get_executor(), url);
  http::Client quick(io.at(0).get_executor(), url);
  auto explained =
      asio::co_spawn(io.at(0), fetch(&slow, "GET", "/router/explain?last=7&request_id=r1"), asio::use_future);
  ASSERT_EQ(has_begun.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(asio::co_spawn(io.at(0), fetch(&quick, "POST", "/clear_kv_blocks"), asio::use_future).get(),
            R"({"workers":[]})");
  served.set_value();
  EXPECT_EQ(explained.get(), R"({"decisions":[7,"r1",true]})");
  server->stop(Clock::steady().now());
  asio::co_spawn(
      io.at(0),
      [](http::Client* one, http::Client* other) -> Task<void> {
        one->close();
        other->close();
        co_return;
      }(&slow, &quick),
      asio::use_future)
      .get();
}

}  // namespace
}  // namespace dynamo::frontend
