#include "load/runner.h"

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <random>

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "json/parse.h"
#include "load/shared_cache.h"

namespace dynamo::load {
namespace {

namespace asio = boost::asio;

constexpr Duration kProbeEvery = std::chrono::milliseconds(10);
constexpr Duration kListTimeout = std::chrono::seconds(10);

Duration thread_cpu() {
  rusage used{};
  getrusage(RUSAGE_THREAD, &used);
  const auto of = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

class Runner {
 public:
  Runner(const RunOptions& options, const std::vector<Conversation>& workload, std::vector<http::Url> servers,
         const std::function<void(double)>& on_progress)
      : options_(options),
        workload_(workload),
        servers_(std::move(servers)),
        on_progress_(on_progress),
        random_(options.seed),
        cache_(options.block_tokens) {
    for (const http::Url& server : servers_) pools_.push_back({server, {}});
  }

  Status find_model() {
    result_.model = options_.model;
    if (!result_.model.empty()) return {};
    OpenAiClient client(io_.get_executor(), servers_.front(), options_.api_key);
    Result<std::string> model;
    asio::co_spawn(io_, client.first_model(Clock::steady().now() + kListTimeout),
                   [&](std::exception_ptr, Result<std::string> found) { model = std::move(found); });
    io_.run();
    io_.restart();
    TRY(result_.model, std::move(model));
    return {};
  }

  RunResult run() {
    asio::signal_set signals(io_, SIGINT, SIGTERM);
    signals.async_wait([this](const boost::system::error_code& failure, int) {
      if (!failure) interrupt();
    });
    started_ = Clock::steady().now();
    const Duration cpu_before = thread_cpu();
    asio::co_spawn(io_, probe(), asio::detached);
    asio::co_spawn(io_, begin_all(), [&](std::exception_ptr) { end_if_done(); });
    end_ = [&] {
      signals.cancel();
      probe_timer_.cancel();  // no use if it is due and its handler waits to run
    };
    io_.run();
    const Duration wall = Clock::steady().now() - started_;
    result_.client_cpu = std::chrono::duration<double>(thread_cpu() - cpu_before) / wall;
    result_.wall = std::max(Duration(1), last_end_ - first_sent_.value_or(started_));
    return std::move(result_);
  }

 private:
  struct Pool {
    http::Url server;
    std::vector<std::unique_ptr<OpenAiClient>> idle;
  };
  // A connection for one request; goes back to its pool if it can take another.
  struct Borrowed {
    Runner* runner;
    Pool* pool;
    std::unique_ptr<OpenAiClient> client;
    Borrowed(Runner* of, Pool* from) : runner(of), pool(from) {
      if (pool->idle.empty()) {
        client = std::make_unique<OpenAiClient>(runner->io_.get_executor(), pool->server, runner->options_.api_key);
        ++runner->result_.connections;
      } else {
        client = std::move(pool->idle.back());
        pool->idle.pop_back();
      }
      runner->busy_.push_back(client.get());
    }
    ~Borrowed() {
      std::erase(runner->busy_, client.get());
      pool->idle.push_back(std::move(client));  // one that broke connects again
    }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
  };

  void interrupt() {
    result_.is_interrupted = true;
    for (OpenAiClient* client : busy_) client->close();
    wake_.cancel();
    for (asio::steady_timer* timer : thinking_) timer->cancel();
  }
  bool is_stopping() const {
    return result_.is_interrupted ||
           (options_.duration.count() > 0 && Clock::steady().now() >= started_ + options_.duration);
  }
  bool is_done() const { return running_ == 0 && has_begun_all_; }
  void end_if_done() {
    if (is_done()) end_();
  }

  Task<void> probe() {
    boost::system::error_code failure;
    for (Time due = Clock::steady().now() + kProbeEvery;; due += kProbeEvery) {
      probe_timer_.expires_at(due);
      co_await probe_timer_.async_wait(asio::redirect_error(asio::use_awaitable, failure));
      if (is_done()) co_return;
      const Time now = Clock::steady().now();
      result_.lateness.push_back(now - due);
      due = std::max(due, now - kProbeEvery);  // a long standstill counts once
    }
  }

  // Begins every conversation when it is due and there is room.
  Task<void> begin_all() {
    std::exponential_distribution<double> gap(std::max(options_.rate, 1e-9));
    Duration planned{};
    for (size_t i = 0; i < workload_.size() && !is_stopping(); ++i) {
      const bool is_timed = workload_[i].at || options_.rate > 0;
      if (workload_[i].at) planned = *workload_[i].at;
      const Time due = started_ + planned;
      if (is_timed) co_await wait_until(due);
      while (options_.concurrency > 0 && running_ >= options_.concurrency && !is_stopping())
        co_await wait_until(Time::max());
      if (is_stopping()) break;
      ++running_;
      asio::co_spawn(io_, converse(i, is_timed ? std::optional(due) : std::nullopt), [this](std::exception_ptr) {
        --running_;
        ++ended_;
        on_progress_(static_cast<double>(ended_) / static_cast<double>(workload_.size()));
        wake_.cancel();
        end_if_done();
      });
      if (!workload_[i].at && options_.rate > 0) {
        planned += std::chrono::duration_cast<Duration>(
            std::chrono::duration<double>(options_.is_poisson ? gap(random_) : 1 / options_.rate));
      }
    }
    has_begun_all_ = true;
  }

  // Ends early when a conversation ends or the run is interrupted, if there is no time to wait for.
  Task<void> wait_until(Time time) {
    while (!result_.is_interrupted && Clock::steady().now() < time) {
      boost::system::error_code failure;
      wake_.expires_at(time);
      co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, failure));
      if (time == Time::max()) co_return;
    }
  }

  Task<void> converse(size_t index, std::optional<Time> due) {
    const Conversation& conversation = workload_[index];
    std::vector<Piece> pieces = conversation.opening;
    json::array messages;
    const bool is_chat = options_.endpoint == Endpoint::kChat;
    if (is_chat && !pieces.empty()) messages.push_back(json::object{{"role", "system"}, {"content", text_of(pieces)}});
    for (uint32_t turn = 0; turn < conversation.turns.size() && !is_stopping(); ++turn) {
      const Turn& next = conversation.turns[turn];
      if (turn > 0 && options_.think_time.count() > 0) {
        due = Clock::steady().now() + options_.think_time;
        asio::steady_timer timer(io_, *due);
        thinking_.push_back(&timer);
        boost::system::error_code failure;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, failure));
        std::erase(thinking_, &timer);
        if (is_stopping()) co_return;
      }
      Sample sample;
      sample.turn = turn;
      pieces.insert(pieces.end(), next.prompt.begin(), next.prompt.end());
      if (is_chat) {
        messages.push_back(
            json::object{{"role", "user"}, {"content", next.text.empty() ? text_of(next.prompt) : next.text}});
      }
      std::string body = body_of(next, messages, pieces, &sample);
      co_await request(std::move(body), due, &sample);
      std::string answer = std::exchange(sample.text, {});
      due.reset();
      const bool has_failed = !sample.error.empty();
      if (index >= options_.warmup && !(has_failed && result_.is_interrupted)) {
        const Time sent = started_ + sample.sent;
        if (!first_sent_ || sent < *first_sent_) first_sent_ = sent;
        last_end_ = std::max(last_end_, sent + sample.total);
        result_.samples.push_back(std::move(sample));
      }
      if (has_failed) co_return;  // the next turn would lack this one's answer
      pieces.push_back(next.answer());
      if (is_chat) messages.push_back(json::object{{"role", "assistant"}, {"content", answer}});
    }
  }

  std::string body_of(const Turn& turn, const json::array& messages, const std::vector<Piece>& pieces, Sample* sample) {
    json::object body{{"model", result_.model},
                      {"max_tokens", turn.max_tokens},
                      {"temperature", options_.temperature},
                      {"stream", true},
                      {"stream_options", json::object{{"include_usage", true}}}};
    if (options_.ignores_eos && turn.text.empty()) body["ignore_eos"] = true;
    if (options_.endpoint == Endpoint::kChat) {
      body["messages"] = messages;
      return json::serialize(body);
    }
    if (!turn.text.empty()) {
      body["prompt"] = turn.text;
      return json::serialize(body);
    }
    const std::vector<uint32_t> tokens = tokens_of(pieces, options_.first_token, options_.tokens);
    sample->ideal_cached_tokens = cache_.take(tokens);
    std::string text = json::serialize(body);
    text.pop_back();
    return fmt::format("{},\"prompt\":[{}]}}", text, fmt::join(tokens, ","));
  }

  Task<void> request(std::string body, std::optional<Time> due, Sample* sample) {
    Borrowed connection(this, &pools_[next_server_++ % pools_.size()]);
    const Time sent = Clock::steady().now();
    sample->sent = sent - started_;
    if (due) sample->lag = sent - *due;
    const char* path = options_.endpoint == Endpoint::kChat ? "/v1/chat/completions" : "/v1/completions";
    const std::function<void(std::string_view)> show_nothing = [](std::string_view) {};
    const Status status =
        co_await connection.client->ask(path, std::move(body), sent + options_.request_timeout, show_nothing, sample);
    sample->error = status.text();
  }

  const RunOptions& options_;
  const std::vector<Conversation>& workload_;
  const std::vector<http::Url> servers_;
  const std::function<void(double)>& on_progress_;
  asio::io_context io_{1};
  asio::steady_timer wake_{io_};
  asio::steady_timer probe_timer_{io_};
  std::function<void()> end_;
  std::mt19937_64 random_;
  SharedCache cache_;
  std::vector<Pool> pools_;
  std::vector<OpenAiClient*> busy_;
  std::vector<asio::steady_timer*> thinking_;
  size_t next_server_ = 0;
  uint32_t running_ = 0;  // conversations
  size_t ended_ = 0;
  bool has_begun_all_ = false;
  Time started_;
  std::optional<Time> first_sent_;
  Time last_end_{};
  RunResult result_;
};

}  // namespace

Result<RunResult> run(const RunOptions& options, const std::vector<Conversation>& workload,
                      const std::function<void(double)>& on_progress) {
  std::vector<http::Url> servers;
  for (const std::string& url : options.urls) {
    auto parsed = http::parse_url(url);
    if (!parsed.is_ok()) return parsed.status();
    servers.push_back(std::move(parsed).value());
  }
  Runner runner(options, workload, std::move(servers), on_progress);
  Status found = runner.find_model();
  if (!found.is_ok()) return found;
  return runner.run();
}

}  // namespace dynamo::load
