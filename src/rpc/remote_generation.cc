#include "rpc/remote_generation.h"

#include <fmt/format.h>

#include "wire/chunk.h"

namespace dynamo::rpc {

Status RemoteGeneration::silence() const {
  const double seconds = std::chrono::duration<double>(silence_limit_).count();
  if (!has_answered_)
    return unavailable(
        fmt::format("the worker accepted the request and did not answer: nothing came for {} s", seconds));
  return unavailable(fmt::format("the worker fell silent in the middle of its answer: nothing came for {} s", seconds));
}

Task<Result<TokenChunk>> RemoteGeneration::next() {
  const bool has_limit = silence_limit_ > Duration(0) && silence_limit_ < until_ - clock_->now();
  const Time until = has_limit ? clock_->now() + silence_limit_ : until_;
  auto piece = co_await stream_->next(until);
  if (!piece.is_ok()) {
    const bool was_silent = has_limit && piece.status().code() == Code::kDeadline && clock_->now() >= until;
    co_return was_silent ? silence() : piece.status();
  }
  if (!piece->has_value()) co_return corrupt("the worker's answer ended without a reason");
  auto chunk = wire::chunk_from_bytes(**piece);
  while (chunk.is_ok() && !chunk->finish) {
    const std::optional<std::string> more = stream_->next_ready();
    if (!more) break;
    auto next = wire::chunk_from_bytes(*more);
    if (!next.is_ok()) co_return next.status();
    append(std::move(next).value(), &*chunk);
  }
  if (chunk.is_ok() && chunk->is_sign_of_life() && clock_->now() >= until_)
    co_return deadline("the request's time ran out, though the worker says that it gets on");
  has_answered_ |= chunk.is_ok() && !chunk->is_sign_of_life();
  co_return chunk;
}

}  // namespace dynamo::rpc
