#include "rpc/generate_messages.h"

#include <algorithm>

#include "wire/messages.pb.h"

namespace dynamo::rpc {
namespace {

constexpr uint32_t kMostTopLogprobs = 1000;
constexpr Duration kLeastSilence =
    std::chrono::milliseconds(200);  // nobody may ask for signs of life more often than that needs

void sampling_to_message(const SamplingParams& sampling, wire::Sampling* out) {
  out->set_temperature(sampling.temperature);
  out->set_top_p(sampling.top_p);
  out->set_top_k(sampling.top_k);
  out->set_min_p(sampling.min_p);
  out->set_repetition_penalty(sampling.repetition_penalty);
  out->set_presence_penalty(sampling.presence_penalty);
  out->set_frequency_penalty(sampling.frequency_penalty);
  if (sampling.seed) out->set_seed(*sampling.seed);
  for (const auto& [token, bias] : sampling.logit_bias) {
    out->add_biased_tokens(token);
    out->add_biases(bias);
  }
}

void prompt_to_message(const kv::Prompt& prompt, wire::Generate* out) {
  out->mutable_prompt()->Add(prompt.tokens.begin(), prompt.tokens.end());
  out->set_cache_salt(prompt.salt.low);
  out->set_cache_salt_high(prompt.salt.high);
  for (const kv::PromptSpan& span : prompt.spans) {
    wire::PromptSpan& one = *out->add_spans();
    one.set_begin(span.begin);
    one.set_end(span.end);
    one.set_fingerprint_low(span.fingerprint.low);
    one.set_fingerprint_high(span.fingerprint.high);
  }
}

Result<kv::Prompt> prompt_from_message(const wire::Generate& message) {
  kv::Prompt prompt;
  prompt.tokens.assign(message.prompt().begin(), message.prompt().end());
  prompt.salt = {message.cache_salt(), message.cache_salt_high()};
  for (const wire::PromptSpan& one : message.spans())
    prompt.spans.push_back({one.begin(), one.end(), {one.fingerprint_low(), one.fingerprint_high()}});
  TRY_STATUS(kv::check(prompt));
  return prompt;
}

// What a request must have to be one. The numbers of `sampling` are the engine's to check.
Status check(const wire::Generate& message) {
  const wire::Sampling& sampling = message.sampling();
  if (message.max_tokens() == 0) return invalid("a request with max_tokens 0");
  if (sampling.biased_tokens_size() != sampling.biases_size()) return invalid("a request with unequal logit biases");
  if (message.has_logprobs() && message.logprobs() > kMostTopLogprobs)
    return invalid("a request for too many log probabilities");
  return {};
}

SamplingParams sampling_from_message(const wire::Sampling& message) {
  SamplingParams sampling;
  sampling.temperature = message.temperature();
  sampling.top_p = message.top_p();
  sampling.top_k = message.top_k();
  sampling.min_p = message.min_p();
  sampling.repetition_penalty = message.repetition_penalty();
  sampling.presence_penalty = message.presence_penalty();
  sampling.frequency_penalty = message.frequency_penalty();
  if (message.has_seed()) sampling.seed = message.seed();
  for (int i = 0; i < message.biases_size(); ++i)
    sampling.logit_bias.emplace_back(message.biased_tokens(i), message.biases(i));
  return sampling;
}

template <class T>
void append_all(std::vector<T>&& from, std::vector<T>* to) {
  to->insert(to->end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

void to_message(const GenerateRequest& request, Time now, wire::Generate* out) {
  out->Clear();
  out->set_id(request.id);
  out->set_model(request.model);
  prompt_to_message(request.prompt, out);
  sampling_to_message(request.sampling, out->mutable_sampling());
  out->set_max_tokens(request.stop.max_tokens);
  out->set_min_tokens(request.stop.min_tokens);
  out->mutable_stop_token_ids()->Add(request.stop.stop_token_ids.begin(), request.stop.stop_token_ids.end());
  if (request.logprobs) out->set_logprobs(*request.logprobs);
  out->set_priority(request.priority);
  out->set_drawn_before(request.drawn_before);
  for (const PrefillPlace& place : request.prefill_at) {
    wire::PrefillPlace& one = *out->add_prefill_at();
    one.set_instance(place.instance);
    one.set_name(place.name);
    one.set_address(place.address);
  }
  out->set_silence_us(
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(request.silence_limit).count()));
  if (request.deadline == Time::max()) return;
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(request.deadline - now).count();
  out->set_timeout_us(static_cast<uint64_t>(std::max<int64_t>(left, 0)));
}

Result<GenerateRequest> from_message(const wire::Generate& message, Time now) {
  TRY_STATUS(check(message));
  GenerateRequest request;
  request.id = message.id();
  request.model = message.model();
  TRY(request.prompt, prompt_from_message(message));
  request.sampling = sampling_from_message(message.sampling());
  request.stop.max_tokens = message.max_tokens();
  request.stop.min_tokens = message.min_tokens();
  request.stop.stop_token_ids.assign(message.stop_token_ids().begin(), message.stop_token_ids().end());
  if (message.has_logprobs()) request.logprobs = message.logprobs();
  request.priority = message.priority();
  request.drawn_before = message.drawn_before();
  for (const wire::PrefillPlace& one : message.prefill_at())
    request.prefill_at.push_back({one.instance(), one.name(), one.address()});
  constexpr uint64_t kYear = 365ULL * 24 * 3600 * 1000000;
  if (message.has_timeout_us() && message.timeout_us() < kYear)
    request.deadline = now + std::chrono::microseconds(message.timeout_us());
  if (message.silence_us() > 0 && message.silence_us() < kYear)
    request.silence_limit = std::max<Duration>(std::chrono::microseconds(message.silence_us()), kLeastSilence);
  return request;
}

std::string to_bytes(const TokenChunk& chunk) {
  wire::Chunk message;
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
  wire::Chunk message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || message.finish() > 2 ||
      message.logprobs_size() != message.logprob_tokens_size())
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

void append(TokenChunk next, TokenChunk* chunk) {
  if (next.is_sign_of_life()) return;
  append_all(std::move(next.tokens), &chunk->tokens);
  append_all(std::move(next.logprobs), &chunk->logprobs);
  chunk->finish = next.finish;
  chunk->cached_tokens = next.cached_tokens;
  if (chunk->worker.empty()) chunk->worker = std::move(next.worker);
}

}  // namespace dynamo::rpc
