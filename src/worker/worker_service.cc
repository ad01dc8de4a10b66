#include "worker/worker_service.h"

#include "rpc/flow.h"
#include "rpc/generate_messages.h"
#include "wire/messages.pb.h"

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
    case wire::Request::kGenerate: {
      auto generate = rpc::from_message(message.generate(), Clock::steady().now());
      if (!generate.is_ok()) co_return generate.status();
      co_return co_await answer_generate(parts_.generator.get(), std::move(generate).value(), reply);
    }
    case wire::Request::kModel:
      co_return co_await send_model(message.model().digest(), reply);
    case wire::Request::kBlocks:
      co_return co_await send_blocks(reply);
    case wire::Request::kClear:
      parts_.clear_blocks();
      co_return Status();
    case wire::Request::kPrefill: {
      if (!parts_.prefill) co_return unsupported("this worker has no way to move KV blocks to another");
      std::string reply_bytes = co_await parts_.prefill(std::move(*message.mutable_prefill()));
      reply->send_last(std::move(reply_bytes));
      co_return Status();
    }
    case wire::Request::kRole: {
      std::string reply_bytes = co_await parts_.set_role(std::move(*message.mutable_role()));
      reply->send_last(std::move(reply_bytes));
      co_return Status();
    }
    case wire::Request::KIND_NOT_SET:
      break;
  }
  co_return unsupported("a request of a kind that this version does not know");
}

Task<Status> WorkerService::send_model(std::string digest, rpc::ReplyStream* reply) const {
  if (digest != parts_.model_digest) co_return not_found("this worker has no model " + digest);
  for (size_t at = 0; at < parts_.model_bundle.size(); at += kPieceBytes) {
    Status status = co_await reply->send(parts_.model_bundle.substr(at, kPieceBytes));
    if (!status.is_ok()) co_return status;
  }
  co_return Status();
}

Task<Status> WorkerService::send_blocks(rpc::ReplyStream* reply) const {
  const auto [summary, blocks] = parts_.blocks->snapshot();
  for (size_t at = 0;; at += kPieceBlocks) {
    wire::BlockSnapshot part;
    part.set_last_event(summary.last_event);
    const size_t end = std::min(blocks.size(), at + kPieceBlocks);
    if (at < end) part.mutable_blocks()->Add(blocks.data() + at, blocks.data() + end);
    if (end < blocks.size()) {
      Status status = co_await reply->send(part.SerializeAsString());
      if (!status.is_ok()) co_return status;
      continue;
    }
    part.set_is_last(true);
    part.set_digest(summary.digest);
    reply->send_last(part.SerializeAsString());
    co_return Status();
  }
}

}  // namespace dynamo::worker
