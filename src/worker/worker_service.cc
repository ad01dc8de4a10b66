#include "worker/worker_service.h"

#include <fmt/format.h>

#include "rpc/flow.h"
#include "rpc/generate_messages.h"
#include "wire/messages.pb.h"
#include "wire/status.h"

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
    std::string bytes = rpc::to_bytes(chunk);
    std::optional<TokenChunk> rest;
    while (bytes.size() > rpc::kLargestPiece && chunk.tokens.size() > 1) {
      TokenChunk half = cut_half(&chunk);
      if (rest) rpc::append(std::move(*rest), &half);
      rest = std::move(half);
      bytes = rpc::to_bytes(chunk);
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
  wire::Request message;
  if (!message.ParseFromString(request)) co_return corrupt("a request that cannot be read");
  switch (message.kind_case()) {
    case wire::Request::kGenerate:
      co_return co_await generate(&message.generate(), reply);
    case wire::Request::kModel:
      co_return co_await send_model(message.model().digest(), reply);
    case wire::Request::kBlocks:
      co_return co_await send_blocks(reply);
    case wire::Request::kClear:
      parts_.host->clear_cache();
      co_return Status();
    case wire::Request::kPrefill:
      co_return co_await prefill(&message.prefill(), reply);
    case wire::Request::kRole:
      co_return co_await set_role(&message.role(), reply);
    case wire::Request::KIND_NOT_SET:
      break;
  }
  co_return unsupported("a request of a kind that this version does not know");
}

Task<Status> WorkerService::generate(const wire::Generate* message, rpc::ReplyStream* reply) const {
  const RequestsInFlight::Stay stay(parts_.requests);
  CO_TRY(GenerateRequest request, rpc::from_message(*message, Clock::steady().now()));
  co_return co_await answer_generate(generator_.get(), std::move(request), reply);
}

Task<Status> WorkerService::prefill(const wire::Prefill* message, rpc::ReplyStream* reply) const {
  const RequestsInFlight::Stay stay(parts_.requests);
  Result<handoff::PrefillReport> report = internal("not asked");
  auto order = handoff::order_from_message(*message, Clock::steady().now());
  if (order.is_ok()) {
    report = co_await parts_.host->prefill(std::move(order).value());
  } else {
    report = order.status();
  }
  reply->send_last(handoff::to_bytes(report));
  co_return Status();
}

Task<Status> WorkerService::set_role(const wire::SetRole* message, rpc::ReplyStream* reply) const {
  Result<std::string> name =
      invalid(fmt::format("role '{}': aggregated, prefill and decode are there", message->role()));
  if (const auto role = discovery::parse_role(message->role())) {
    const std::chrono::seconds drain(message->drain_seconds());
    name = co_await parts_.set_role(*role, drain);
  }
  wire::RoleReply answer;
  if (name.is_ok()) {
    answer.set_name(*name);
  } else {
    answer.set_failure(wire::to_bytes(name.status()));
  }
  reply->send_last(answer.SerializeAsString());
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
  wire::BlockSnapshot part;
  for (uint32_t tier = 0; tier < kv::kTiers; ++tier) {
    const std::vector<uint64_t>& blocks = held.all[tier];
    for (size_t at = 0; at < blocks.size(); at += kPieceBlocks) {
      part.Clear();
      part.set_last_event(summary.last_event);
      auto* to = part.mutable_blocks();
      if (tier > 0) {
        wire::TierBlocks& lower = *part.add_lower();
        lower.set_tier(tier);
        to = lower.mutable_blocks();
      }
      to->Add(blocks.data() + at, blocks.data() + std::min(blocks.size(), at + kPieceBlocks));
      Status status = co_await reply->send(part.SerializeAsString());
      if (!status.is_ok()) co_return status;
    }
  }
  part.Clear();
  part.set_last_event(summary.last_event);
  part.set_is_last(true);
  part.set_digest(summary.digest);
  reply->send_last(part.SerializeAsString());
  co_return Status();
}

}  // namespace dynamo::worker
