#include "http/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>

#include "http/server.h"

namespace dynamo::http {
namespace {

Task<void> echo(const Request* request, ResponseWriter* response) {
  Response reply;
  reply.content_type = "text/plain";
  reply.body = request->method + " " + request->path + " " + request->body;
  static_cast<void>(co_await response->send(std::move(reply)));
}

Task<void> count_to_three(const Request*, ResponseWriter* response) {
  Response head;
  head.content_type = "text/event-stream";
  Status status = co_await response->begin(std::move(head));
  for (int i = 1; status.is_ok() && i <= 3; ++i) {
    std::string event = "data: " + std::to_string(i) + "\n\n";
    status = co_await response->write(std::move(event));
  }
  if (status.is_ok()) static_cast<void>(co_await response->end());
}

Task<void> forget_to_answer(const Request*, ResponseWriter*) {
  co_return;
}

class ClientServerTest : public testing::Test {
 protected:
  ClientServerTest() {
    ServerOptions options;
    options.host = "127.0.0.1";
    options.port = 0;
    options.idle_timeout = std::chrono::milliseconds(500);
    server_ = std::move(Server::listen(options, &io_threads_)).value();
    server_->route("POST", "/echo", echo);
    server_->route("GET", "/files/{name}",
                   [](const Request* request, ResponseWriter* response) { return echo(request, response); });
    server_->route("GET", "/count", count_to_three);
    server_->route("GET", "/broken", forget_to_answer);
    server_->route("GET", "/hang", [this](const Request*, ResponseWriter*) -> Task<void> { return hang(&dropped_); });
    server_->start();
    client_ = std::make_unique<Client>(io_.get_executor(), Url{.server = {"127.0.0.1", server_->port()}});
  }
  ~ClientServerTest() override { server_->stop(Clock::steady().now()); }

  static Task<void> hang(std::atomic<int>* dropped) {
    struct Drop {
      std::atomic<int>* count;
      ~Drop() { ++*count; }
    } const drop{dropped};
    boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, Time::max());
    co_await timer.async_wait(boost::asio::use_awaitable);
  }
  template <class T>
  T run(Task<T> task) {
    T out{};
    boost::asio::co_spawn(io_, std::move(task), [&](std::exception_ptr, T result) {
      out = std::move(result);
      io_.stop();
    });
    io_.restart();
    io_.run();
    return out;
  }
  Result<Response> fetch(std::string method, std::string path, std::string body = "", int limit_ms = 20000) {
    return run(client_->fetch(std::move(method), std::move(path), {}, std::move(body),
                              Clock::steady().now() + std::chrono::milliseconds(limit_ms)));
  }

  IoThreads io_threads_{2};
  std::atomic<int> dropped_{0};
  std::unique_ptr<Server> server_;
  boost::asio::io_context io_{1};
  std::unique_ptr<Client> client_;
};

TEST_F(ClientServerTest, RequestsShareAConnectionAndKeepTheirBodies) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(fetch("POST", "/echo", "hello").value().body, "POST /echo hello");
  EXPECT_EQ(server_->connections(), 1u);
  const std::string large(3U << 20, 'x');
  EXPECT_EQ(fetch("POST", "/echo", large).value().body.size(), large.size() + 11);
  EXPECT_EQ(fetch("GET", "/files/a/b%20c").value().body, "GET /files/a/b c ");
}

TEST_F(ClientServerTest, AStreamArrivesAsItsEvents) {
  SseReader reader;
  EXPECT_EQ(reader.push(fetch("GET", "/count").value().body), (std::vector<std::string>{"1", "2", "3"}));
}

TEST_F(ClientServerTest, WhatHasNoHandlerOrAFailingOneIsAnswered) {
  EXPECT_EQ(fetch("GET", "/nothing").value().status, 404);
  const Response wrong = fetch("GET", "/echo").value();
  EXPECT_EQ(wrong.status, 405);
  EXPECT_NE(std::ranges::find(wrong.headers, std::pair<std::string, std::string>("allow", "POST, OPTIONS")),
            wrong.headers.end());
  EXPECT_EQ(fetch("OPTIONS", "/echo").value().status, 204);
  EXPECT_EQ(fetch("GET", "/broken").value().status, 500);
  EXPECT_EQ(fetch("POST", "/echo", "still here").value().status, 200);
}

TEST_F(ClientServerTest, AClientThatLeavesCancelsTheHandlerThatWaits) {
  EXPECT_EQ(fetch("GET", "/hang", "", 50).status().code(), Code::kDeadline);
  while (dropped_ == 0) std::this_thread::yield();
  EXPECT_EQ(dropped_, 1);
}

TEST_F(ClientServerTest, StoppingCancelsWhatIsLeft) {
  std::thread asker([&] { EXPECT_FALSE(fetch("GET", "/hang").is_ok()); });
  while (server_->connections() == 0) std::this_thread::yield();
  server_->stop(Clock::steady().now());
  asker.join();
  EXPECT_EQ(server_->connections(), 0u);
}

TEST_F(ClientServerTest, AnIdleConnectionIsClosedAndTheNextRequestOpensAnother) {
  EXPECT_TRUE(fetch("POST", "/echo").is_ok());
  while (server_->connections() > 0) std::this_thread::yield();
  EXPECT_TRUE(fetch("POST", "/echo").is_ok());
}

TEST_F(ClientServerTest, ATakenPortIsNamedWithTheRemedy) {
  ServerOptions options;
  options.host = "127.0.0.1";
  options.port = server_->port();
  const auto second = Server::listen(options, &io_threads_);
  EXPECT_EQ(second.status().code(), Code::kUnavailable);
  EXPECT_NE(second.status().text().find(std::to_string(options.port)), std::string::npos);
  EXPECT_NE(second.status().text().find("choose another port"), std::string::npos);
}

TEST(SseReader, EventsAreTheSameHoweverTheBytesAreCut) {
  const std::string bytes =
      "\xEF\xBB\xBF: comment\r\ndata: one\r\n\r\nevent: x\ndata:two\ndata: more\n\ndata\r\rid: 3\n\n";
  const std::vector<std::string> expected = {"one", "two\nmore", ""};
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    SseReader reader;
    std::vector<std::string> events;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      for (std::string& event : reader.push(std::string_view(bytes).substr(at, piece)))
        events.push_back(std::move(event));
    }
    ASSERT_EQ(events, expected) << piece;
  }
}

TEST(ParseUrl, TakesHostPortAndPathAndRefusesTheRest) {
  EXPECT_EQ(parse_url("http://[::1]:81/x").value().server, (HostPort{"::1", 81}));
  EXPECT_EQ(parse_url("http://[::1]:81/x").value().path, "/x");
  EXPECT_EQ(parse_url("http://[::1]").value().server, (HostPort{"::1", 80}));
  EXPECT_EQ(parse_url("http://h").value().server, (HostPort{"h", 80}));
  for (const char* zone : {"http://[fe80::1%25eth0]:81/a%25b", "http://[fe80::1%eth0]:81/a%25b"}) {
    EXPECT_EQ(parse_url(zone).value().server, (HostPort{"fe80::1%eth0", 81}));
    EXPECT_EQ(parse_url(zone).value().path, "/a%25b");
  }
  for (const char* bad : {"h", "https://h", "http://", "http://h:x", "http://h:70000", "http://h:0", "http://[::1",
                          "http://[::1]x", "http://[::1]:", "http://[h]:1"})
    EXPECT_EQ(parse_url(bad).status().code(), Code::kInvalid) << bad;
  EXPECT_THAT(parse_url("http://::1:8000/").status().text(), testing::HasSubstr("write [::1]:8000"));
}

}  // namespace
}  // namespace dynamo::http
