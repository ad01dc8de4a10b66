#include "wire/chunk.h"

#include "wire/messages.pb.h"
#include "wire/parse.h"

namespace dynamo::wire {

std::string to_bytes(const TokenChunk& chunk) {
  proto::Chunk message;
  message.mutable_tokens()->Add(chunk.tokens.begin(), chunk.tokens.end());
  for (const TokenLogprobs& one : chunk.logprobs) {
    message.add_logprob_counts(static_cast<uint32_t>(one.top.size()));
    message.add_logprob_tokens(one.drawn.token);
    message.add_logprobs(one.drawn.logprob);
    for (const TokenLogprob& other : one.top) {
      message.add_logprob_tokens(other.token);
      message.add_logprobs(other.logprob);
    }
  }
  if (chunk.finish) message.set_finish(*chunk.finish == FinishReason::kStop ? 1 : 2);
  message.set_cached_tokens(chunk.cached_tokens);
  if (!chunk.worker.empty()) message.set_worker(chunk.worker);
  if (chunk.is_sign_of_life()) message.set_is_sign_of_life(true);
  return message.SerializeAsString();
}

Result<TokenChunk> chunk_from_bytes(std::string_view bytes) {
  proto::Chunk message;
  if (!parse(bytes, &message) || message.finish() > 2 || message.logprobs_size() != message.logprob_tokens_size())
    return corrupt("a piece of an answer that cannot be read");
  TokenChunk chunk;
  chunk.tokens.assign(message.tokens().begin(), message.tokens().end());
  int at = 0;
  for (const uint32_t count : message.logprob_counts()) {
    if (count > kMostTopLogprobs || at + 1 + static_cast<int>(count) > message.logprobs_size())
      return corrupt("log probabilities that cannot be read");
    TokenLogprobs& one = chunk.logprobs.emplace_back();
    one.drawn = {message.logprob_tokens(at), message.logprobs(at)};
    for (uint32_t i = 0; i < count; ++i)
      one.top.push_back(
          {message.logprob_tokens(at + 1 + static_cast<int>(i)), message.logprobs(at + 1 + static_cast<int>(i))});
    at += 1 + static_cast<int>(count);
  }
  if (!chunk.logprobs.empty() && chunk.logprobs.size() != chunk.tokens.size())
    return corrupt("log probabilities of other tokens than those of their piece");
  if (message.finish() != 0) chunk.finish = message.finish() == 1 ? FinishReason::kStop : FinishReason::kLength;
  chunk.cached_tokens = message.cached_tokens();
  chunk.worker = message.worker();
  return chunk;
}

}  // namespace dynamo::wire
