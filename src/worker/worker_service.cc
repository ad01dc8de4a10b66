#include "worker/worker_service.h"

#include <fmt/format.h>

#include "rpc/flow.h"
#include "wire/chunk.h"
#include "wire/reply.h"

namespace dynamo::worker {
namespace {

constexpr size_t kPieceBytes = 64U << 10;
constexpr size_t kPieceBlocks = 8U << 10;

// Cuts off the chunk's second half. Requires: more than one token.
TokenChunk cut_half(TokenChunk* chunk) {
  TokenChunk rest;
  const auto half = static_cast<ptrdiff_t>(chunk->tokens.size() / 2);
  rest.tokens.assign(chunk->tokens.begin() + half, chunk->tokens.end());
  chunk->tokens.erase(chunk->tokens.begin() + half, chunk->tokens.end());
  if (!chunk->logprobs.empty()) {
    rest.logprobs.assign(chunk->logprobs.begin() + half, chunk->logprobs.end());
    chunk->logprobs.erase(chunk->logprobs.begin() + half, chunk->logprobs.end());
  }
  rest.finish = chunk->finish;
  rest.cached_tokens = chunk->cached_tokens;
  chunk->finish.reset();
  return rest;
}

Task<Status> send_chunk(TokenChunk chunk, rpc::ReplyStream* reply) {
  for (;;) {
    std::string bytes = wire::to_bytes(chunk);
    std::optional<TokenChunk> rest;
    while (bytes.size() > rpc::kLargestPiece && chunk.tokens.size() > 1) {
      TokenChunk half = cut_half(&chunk);
      if (rest) append(std::move(*rest), &half);
      rest = std::move(half);
      bytes = wire::to_bytes(chunk);
    }
    if (chunk.finish) {
      reply->send_last(std::move(bytes));
      co_return Status();
    }
    Status status = co_await reply->send(std::move(bytes));
    if (!status.is_ok() || !rest) co_return status;
    chunk = std::move(*rest);
  }
}

}  // namespace

Task<Status> answer_generate(Generator* generator, GenerateRequest request, rpc::ReplyStream* reply) {
  auto generation = co_await generator->generate(std::move(request));
  if (!generation.is_ok()) co_return generation.status();
  for (bool is_over = false; !is_over;) {
    auto chunk = co_await (*generation)->next();
    if (!chunk.is_ok()) co_return chunk.status();
    is_over = chunk->finish.has_value();
    Status status = co_await send_chunk(std::move(chunk).value(), reply);
    if (!status.is_ok()) co_return status;
  }
  co_return Status();
}

Task<Status> WorkerService::handle(std::string request, rpc::ReplyStream* reply) const {
  CO_TRY(auto asked, wire::request_from_bytes(request, Clock::steady().now()));
  if (auto* prompt = std::get_if<Result<GenerateRequest>>(&asked))
    co_return co_await generate(std::move(*prompt), reply);
  if (auto* order = std::get_if<Result<PrefillOrder>>(&asked)) co_return co_await prefill(std::move(*order), reply);
  if (auto* model = std::get_if<wire::FetchModel>(&asked)) co_return co_await send_model(model->digest, reply);
  if (std::holds_alternative<wire::FetchBlocks>(asked)) co_return co_await send_blocks(reply);
  if (auto* role = std::get_if<wire::SetRole>(&asked)) co_return co_await set_role(std::move(*role), reply);
  parts_.host->clear_cache();
  co_return Status();
}

Task<Status> WorkerService::generate(Result<GenerateRequest> request, rpc::ReplyStream* reply) const {
  const RequestsInFlight::Stay stay(parts_.requests);
  if (!request.is_ok()) co_return request.status();
  co_return co_await answer_generate(generator_.get(), std::move(request).value(), reply);
}

Task<Status> WorkerService::prefill(Result<PrefillOrder> order, rpc::ReplyStream* reply) const {
  const RequestsInFlight::Stay stay(parts_.requests);
  Result<PrefillReport> report;
  if (order.is_ok()) {
    report = co_await parts_.host->prefill(std::move(order).value());
  } else {
    report = order.status();
  }
  reply->send_last(wire::prefill_reply(report));
  co_return Status();
}

Task<Status> WorkerService::set_role(wire::SetRole request, rpc::ReplyStream* reply) const {
  Result<std::string> name = invalid(fmt::format("role '{}': aggregated, prefill and decode are there", request.role));
  if (const auto role = discovery::parse_role(request.role)) name = co_await parts_.set_role(*role, request.drain);
  reply->send_last(wire::role_reply(name));
  co_return Status();
}

Task<Status> WorkerService::send_model(std::string digest, rpc::ReplyStream* reply) const {
  if (digest != parts_.model_digest) co_return not_found("this worker has no model " + digest);
  const std::string& bundle = parts_.host->spec().model_bundle;
  for (size_t at = 0; at < bundle.size(); at += kPieceBytes) {
    Status status = co_await reply->send(bundle.substr(at, kPieceBytes));
    if (!status.is_ok()) co_return status;
  }
  co_return Status();
}

Task<Status> WorkerService::send_blocks(rpc::ReplyStream* reply) const {
  const auto [summary, held] = parts_.blocks->snapshot();
  for (const kv::Tier tier : kv::kAllTiers) {
    std::span<const kv::BlockHash> rest = held[tier];
    while (!rest.empty()) {
      const size_t blocks = std::min(rest.size(), kPieceBlocks);
      Status status = co_await reply->send(wire::snapshot_part(summary.last_event, tier, rest.first(blocks)));
      if (!status.is_ok()) co_return status;
      rest = rest.subspan(blocks);
    }
  }
  reply->send_last(wire::snapshot_end(summary.last_event, summary.digest));
  co_return Status();
}

}  // namespace dynamo::worker
