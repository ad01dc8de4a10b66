#include "generate/testing/scripted_generator.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace dynamo {

class ScriptedGenerator::Playback final : public Generation {
 public:
  Playback(Answer answer, Time until, std::shared_ptr<Log> log)
      : answer_(std::move(answer)), until_(until), log_(std::move(log)) {}
  ~Playback() override {
    if (is_over_) return;
    MutexLock lock(log_->mutex);
    ++log_->cancelled;
  }

  Task<Result<TokenChunk>> next() override {
    CHECK(!is_over_);
    if (answer_.hang_after >= 0 && next_ >= static_cast<size_t>(answer_.hang_after)) {
      const auto executor = co_await boost::asio::this_coro::executor;
      boost::asio::steady_timer timer(executor, until_);
      boost::system::error_code error = boost::asio::error::operation_aborted;
      // Waits again when it is cancelled, which throws, as those do that wait for a condition.
      while (error) co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, error));
      is_over_ = true;
      co_return deadline("the request's time ran out");
    }
    if (next_ < answer_.chunks.size()) {
      TokenChunk chunk = answer_.chunks[next_++];
      is_over_ = chunk.finish.has_value();
      co_return chunk;
    }
    is_over_ = true;
    CHECK(!answer_.failure.is_ok());
    co_return answer_.failure;
  }

 private:
  Answer answer_;
  Time until_;
  std::shared_ptr<Log> log_;
  size_t next_ = 0;
  bool is_over_ = false;
};

Task<Result<std::unique_ptr<Generation>>> ScriptedGenerator::generate(GenerateRequest request) {
  Answer answer = script_(request);
  const Time until = request.deadline;
  {
    MutexLock lock(log_->mutex);
    log_->requests.push_back(std::move(request));
  }
  if (!answer.refusal.is_ok()) co_return answer.refusal;
  std::unique_ptr<Generation> playback = std::make_unique<Playback>(std::move(answer), until, log_);
  co_return playback;
}

std::vector<GenerateRequest> ScriptedGenerator::requests() const {
  MutexLock lock(log_->mutex);
  return log_->requests;
}

int ScriptedGenerator::cancelled() const {
  MutexLock lock(log_->mutex);
  return log_->cancelled;
}

}  // namespace dynamo
