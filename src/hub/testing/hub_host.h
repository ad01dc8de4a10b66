// A hub for tests, in this process on a free port; it can be stopped and started again on the same one.
// Threads: one.
#pragma once

#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/check.h"
#include "base/io_threads.h"
#include "hub/hub_client.h"
#include "hub/hub_server.h"

namespace dynamo::hub {

class HubHost {
 public:
  explicit HubHost(HubOptions options = {}) : options_(std::move(options)) { start(); }
  ~HubHost() { stop(); }

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
};

}  // namespace dynamo::hub
