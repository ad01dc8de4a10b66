#include "router/routed_generation.h"

#include <fmt/format.h>

#include "base/log.h"

namespace dynamo::router {
namespace {

constexpr uint32_t kMostBroken = 2;  // workers that one request may find broken

// A worker found what it computed or received for this request to be wrong. It may be the worker's memory or the
// request itself, so one more worker is asked, and if that is broken too the request is not carried any further.
bool is_broken(const Status& failure) {
  return failure.code() == Code::kInternal || failure.code() == Code::kCorrupt;
}

// A worker's own failing, as opposed to one of the request: another worker may do better.
bool is_of_worker(const Status& failure) {
  return failure.code() == Code::kUnavailable || failure.code() == Code::kExhausted || is_broken(failure);
}

}  // namespace

Task<Status> RoutedGeneration::dispatch(Status why) {
  for (;;) {
    Asked asked{.request = &request_, .passed_over = passed_over_, .attempt = attempt_, .chain = {}};
    auto booking = co_await router_->book(std::move(asked));
    if (!booking.is_ok()) {
      // That nobody is left says less than what the last worker said.
      co_return !why.is_ok() && booking.status().code() == Code::kUnavailable ? why : booking.status();
    }
    booking_ = std::move(booking).value();
    const std::string& name = booking_->worker().routed.name;
    if (!last_worker_.empty())
      LOG(debug, fmt::format("Worker {} unhealthy, rerouting -> {}", last_worker_, name), {"request_id", request_.id});
    last_worker_ = name;
    GenerateRequest copy = request_;
    copy.prefill_at = booking_->prefill_at();
    copy.silence_limit = router_->options().silence_limit;
    auto started = co_await booking_->worker().routed.generator->generate(std::move(copy));
    if (started.is_ok()) {
      inner_ = std::move(started).value();
      co_return Status();
    }
    why = started.status();
    if (!give_up_worker(why)) co_return why;
  }
}

Task<Result<TokenChunk>> RoutedGeneration::next() {
  for (;;) {
    auto chunk = co_await inner_->next();
    if (chunk.is_ok()) {
      if (chunk->is_sign_of_life()) continue;
      if (Status wrong = check(*chunk); !wrong.is_ok()) chunk = std::move(wrong);
    }
    if (chunk.is_ok()) {
      take(&*chunk);
      co_return chunk;
    }
    if (!give_up_worker(chunk.status())) co_return chunk.status();
    const Status status = co_await dispatch(chunk.status());
    if (!status.is_ok()) co_return status;
  }
}

// What would be an answer to nobody's request, and spoil the prompt of the next worker.
Status RoutedGeneration::check(const TokenChunk& chunk) const {
  const uint32_t vocab_size = booking_->worker().routed.vocab_size;
  for (const TokenId token : chunk.tokens)
    if (vocab_size > 0 && token >= vocab_size)
      return corrupt(fmt::format("{} gave token {}; the vocabulary has {}", last_worker_, token, vocab_size));
  if (request_.drawn_before + chunk.tokens.size() > request_.stop.max_tokens)
    return corrupt(
        fmt::format("{} gave more than the {} tokens that were asked for", last_worker_, request_.stop.max_tokens));
  return {};
}

void RoutedGeneration::take(TokenChunk* chunk) {
  has_answered_ = true;
  chunk->worker = std::exchange(has_told_worker_, true) ? std::string() : last_worker_;
  if (!cached_tokens_) cached_tokens_ = chunk->cached_tokens;
  chunk->cached_tokens = *cached_tokens_;  // of the first worker: the others' is of its prompt and its own answer
  if (!chunk->tokens.empty() && booking_) booking_->drawn(chunk->tokens.size());
  std::vector<TokenId>& prompt = request_.prompt.tokens;
  prompt.insert(prompt.end(), chunk->tokens.begin(), chunk->tokens.end());
  request_.drawn_before += static_cast<uint32_t>(chunk->tokens.size());
  if (chunk->finish) booking_.reset();
}

// Ends the attempt. Returns: whether another worker may be tried.
bool RoutedGeneration::give_up_worker(const Status& failure) {
  const Worker& worker = booking_->worker();
  if (is_broken(failure)) ++broken_;
  const bool may_go_on = is_of_worker(failure) && broken_ < kMostBroken &&
                         attempt_ < router_->options().migration_limit && router_->clock_->now() < request_.deadline &&
                         !request_.routing.instance;
  if (is_of_worker(failure)) (has_answered_ ? worker.metrics.migrations : worker.metrics.refusals)->Increment();
  if (may_go_on) {
    LOG(info, "a worker failed a request", {"worker", worker.routed.name}, {"request_id", request_.id},
        {"tokens_so_far", request_.drawn_before}, {"why", failure.to_string()});
  }
  passed_over_.push_back(worker.routed.instance);
  inner_.reset();
  booking_.reset();
  has_answered_ = false;
  ++attempt_;
  return may_go_on;
}

}  // namespace dynamo::router
