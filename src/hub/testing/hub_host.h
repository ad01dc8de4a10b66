// A hub for tests, in this process on a free port; it can be stopped and started again on the same one, and hang.
// Threads: one.
#pragma once

#include <future>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <boost/asio/post.hpp>

#include "base/check.h"
#include "base/io_threads.h"
#include "hub/hub_client.h"
#include "hub/hub_server.h"

namespace dynamo::hub {

class HubHost {
 public:
  explicit HubHost(HubOptions options = {}) : options_(std::move(options)) { start(); }
  ~HubHost() {
    resume();
    stop();
  }

  void start() {
    auto server = HubServer::listen(options_, &io_);
    CHECK_OK(server);
    server_ = std::move(server).value();
    options_.port = server_->port();
  }
  void stop() {
    if (server_) server_->stop();
    server_.reset();
  }

  // It keeps its connections and does nothing.
  void hang() {
    may_go_on_.emplace();
    boost::asio::post(io_.at(0), [until = may_go_on_->get_future().share()] { until.wait(); });
  }
  void resume() {
    if (may_go_on_) may_go_on_->set_value();
    may_go_on_.reset();
  }

  uint16_t port() const { return options_.port; }
  std::string address() const { return fmt::format("127.0.0.1:{}", options_.port); }
  std::unique_ptr<HubClient> client(std::chrono::milliseconds settle_time = std::chrono::milliseconds(3000)) const {
    HubClientOptions options;
    options.address = address();
    options.settle_time = settle_time;
    auto client = HubClient::connect(std::move(options), Clock::steady().now() + std::chrono::seconds(5));
    CHECK_OK(client);
    return std::move(client).value();
  }

 private:
  HubOptions options_;
  IoThreads io_{1};
  std::unique_ptr<HubServer> server_;
  std::optional<std::promise<void>> may_go_on_;  // set while it hangs
};

}  // namespace dynamo::hub
