#include "frontend/routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>

#include <fstream>
#include <future>
#include <regex>

#include "base/testing/patience.h"
#include "http/client.h"
#include "openai/service.h"

namespace dynamo::frontend {
namespace {

namespace asio = boost::asio;
using ::testing::HasSubstr;

// Whose explanation takes until `is_served`.
class SlowFrontend final : public Operations {
 public:
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

class RoutesTest : public testing::Test {
 protected:
  RoutesTest() {
    http::ServerOptions options;
    options.host = "127.0.0.1";
    options.port = 0;
    options.error_body = openai::error_response;
    server_ = std::move(http::Server::listen(options, &server_io_)).value();
    frontend_.is_served = served_.get_future().share();
    add_routes(server_.get(), &frontend_);
  }
  ~RoutesTest() override {
    server_->stop(Clock::steady().now());
    for (const auto& client : clients_) {
      asio::co_spawn(
          io_.at(0),
          [](http::Client* one) -> Task<void> {
            one->close();
            co_return;
          }(client.get()),
          asio::use_future)
          .get();
    }
  }

  std::future<std::string> ask(std::string method, std::string path) {
    const http::Url url{.server = {"127.0.0.1", server_->port()}};
    clients_.push_back(std::make_unique<http::Client>(io_.at(0).get_executor(), url));
    return asio::co_spawn(io_.at(0), fetch(clients_.back().get(), std::move(method), std::move(path)),
                          asio::use_future);
  }
  std::string get(std::string path) { return ask("GET", std::move(path)).get(); }

  IoThreads server_io_{1};  // one thread for all connections
  IoThreads io_{1};
  SlowFrontend frontend_;
  std::promise<void> served_;
  std::unique_ptr<http::Server> server_;
  std::vector<std::unique_ptr<http::Client>> clients_;
};

TEST_F(RoutesTest, WhileDecisionsAreExplainedTheThreadServesOthers) {
  std::future<void> has_begun = frontend_.has_begun.get_future();
  server_->start();
  auto explained = ask("GET", "/router/explain?last=7&request_id=r1");
  ASSERT_EQ(has_begun.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(ask("POST", "/clear_kv_blocks").get(), R"({"workers":[]})");
  served_.set_value();
  EXPECT_EQ(explained.get(), R"({"decisions":[7,"r1",true]})");
}

TEST_F(RoutesTest, ARequestsIdMayBePercentEncoded) {
  served_.set_value();
  server_->start();
  EXPECT_EQ(get("/router/explain?request_id=a%3Ab&last=2"), R"({"decisions":[2,"a:b",true]})");
}

TEST_F(RoutesTest, AQueryThatCannotBeReadIsRefusedByName) {
  served_.set_value();
  server_->start();
  for (const char* last : {"0", "1001", "x", "1x", "", "%2D1", "%31%"})
    EXPECT_THAT(get(std::string("/router/explain?last=") + last), HasSubstr("'last'")) << last;
  EXPECT_THAT(get("/router/explain?request_id=%zz"), HasSubstr("'request_id' is not percent-encoded"));
  EXPECT_THAT(get("/router/explain?last=%FF"), HasSubstr("\xEF\xBF\xBD")) << "a reply is UTF-8 whatever was asked";
}

class NoModels final : public openai::ModelDirectory {
 public:
  std::shared_ptr<const openai::ServedModel> find(std::string_view) const override { return nullptr; }
  std::vector<std::shared_ptr<const openai::ServedModel>> list() const override { return {}; }
  bool is_warm() const override { return true; }
};

TEST_F(RoutesTest, TheReferenceNamesEachOfTheFrontendAndNoOther) {
  const NoModels models;
  Metrics metrics;
  openai::Service service({}, &models, {}, &metrics);
  service.add_routes(server_.get());
  std::ifstream page(DYNAMO_SOURCE_DIR "/docs/reference/http_api.md");
  const std::regex row(R"(^\| `((?:GET|POST) [^`]+)` \|.*)");
  std::vector<std::string> described;
  std::smatch match;
  for (std::string line; std::getline(page, line);)
    if (std::regex_match(line, match, row)) described.push_back(match[1]);
  EXPECT_THAT(described, testing::UnorderedElementsAreArray(server_->routes()));
}

}  // namespace
}  // namespace dynamo::frontend
