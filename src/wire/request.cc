#include "wire/request.h"

#include <algorithm>
#include <chrono>

#include "wire/chunk.h"
#include "wire/messages.pb.h"
#include "wire/parse.h"

namespace dynamo::wire {
namespace {

constexpr Duration kLeastSilence =
    std::chrono::milliseconds(200);  // nobody may ask for signs of life more often than that needs

void sampling_to_message(const SamplingParams& sampling, proto::Sampling* out) {
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

void prompt_to_message(const kv::Prompt& prompt, proto::Generate* out) {
  out->mutable_prompt()->Add(prompt.tokens.begin(), prompt.tokens.end());
  out->set_cache_salt(prompt.salt.low);
  out->set_cache_salt_high(prompt.salt.high);
  for (const kv::PromptSpan& span : prompt.spans) {
    proto::PromptSpan& one = *out->add_spans();
    one.set_begin(span.begin);
    one.set_end(span.end);
    one.set_fingerprint_low(span.fingerprint.low);
    one.set_fingerprint_high(span.fingerprint.high);
  }
}

Result<kv::Prompt> prompt_from_message(const proto::Generate& message) {
  kv::Prompt prompt;
  prompt.tokens.assign(message.prompt().begin(), message.prompt().end());
  prompt.salt = {message.cache_salt(), message.cache_salt_high()};
  for (const proto::PromptSpan& one : message.spans())
    prompt.spans.push_back({one.begin(), one.end(), {one.fingerprint_low(), one.fingerprint_high()}});
  TRY_STATUS(kv::check(prompt));
  return prompt;
}

// What a request must have to be one. The numbers of `sampling` are the engine's to check.
Status check(const proto::Generate& message) {
  const proto::Sampling& sampling = message.sampling();
  if (message.max_tokens() == 0) return invalid("a request with max_tokens 0");
  if (sampling.biased_tokens_size() != sampling.biases_size()) return invalid("a request with unequal logit biases");
  if (message.has_logprobs() && message.logprobs() > kMostTopLogprobs)
    return invalid("a request for too many log probabilities");
  return {};
}

SamplingParams sampling_from_message(const proto::Sampling& message) {
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

void to_message(const GenerateRequest& request, Time now, proto::Generate* out) {
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
    proto::PrefillPlace& one = *out->add_prefill_at();
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

Result<GenerateRequest> from_message(const proto::Generate& message, Time now) {
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
  for (const proto::PrefillPlace& one : message.prefill_at())
    request.prefill_at.push_back({one.instance(), one.name(), one.address()});
  constexpr uint64_t kYear = 365ULL * 24 * 3600 * 1000000;
  if (message.has_timeout_us() && message.timeout_us() < kYear)
    request.deadline = now + std::chrono::microseconds(message.timeout_us());
  if (message.silence_us() > 0 && message.silence_us() < kYear)
    request.silence_limit = std::max<Duration>(std::chrono::microseconds(message.silence_us()), kLeastSilence);
  return request;
}

template <class Fill>
std::string bytes_of(const Fill& fill) {
  proto::Request message;
  fill(&message);
  return message.SerializeAsString();
}

Result<PrefillOrder> order_from_message(const proto::Prefill& message, Time now) {
  PrefillOrder order;
  TRY(order.request, from_message(message.generate(), now));
  order.room = message.room();
  order.first_block = message.first_block();
  order.blocks.assign(message.blocks().begin(), message.blocks().end());
  order.card = message.card();
  return order;
}

}  // namespace

std::string to_bytes(const GenerateRequest& request, Time now) {
  return bytes_of([&](proto::Request* out) { to_message(request, now, out->mutable_generate()); });
}

std::string to_bytes(const PrefillOrder& order, Time now) {
  return bytes_of([&](proto::Request* out) {
    proto::Prefill& message = *out->mutable_prefill();
    to_message(order.request, now, message.mutable_generate());
    message.set_room(order.room);
    message.set_first_block(order.first_block);
    message.mutable_blocks()->Add(order.blocks.begin(), order.blocks.end());
    message.set_card(order.card);
  });
}

std::string to_bytes(const FetchModel& request) {
  return bytes_of([&](proto::Request* out) { out->mutable_model()->set_digest(request.digest); });
}

std::string to_bytes(FetchBlocks) {
  return bytes_of([](proto::Request* out) { out->mutable_blocks(); });
}

std::string to_bytes(ClearBlocks) {
  return bytes_of([](proto::Request* out) { out->mutable_clear(); });
}

std::string to_bytes(const SetRole& request) {
  return bytes_of([&](proto::Request* out) {
    out->mutable_role()->set_role(request.role);
    out->mutable_role()->set_drain_seconds(static_cast<uint32_t>(request.drain.count()));
  });
}

Result<Request> request_from_bytes(std::string_view bytes, Time now) {
  proto::Request message;
  if (!parse(bytes, &message)) return corrupt("a request that cannot be read");
  switch (message.kind_case()) {
    case proto::Request::kGenerate:
      return Request(from_message(message.generate(), now));
    case proto::Request::kModel:
      return Request(FetchModel{message.model().digest()});
    case proto::Request::kBlocks:
      return Request(FetchBlocks());
    case proto::Request::kClear:
      return Request(ClearBlocks());
    case proto::Request::kPrefill:
      return Request(order_from_message(message.prefill(), now));
    case proto::Request::kRole:
      return Request(SetRole{message.role().role(), std::chrono::seconds(message.role().drain_seconds())});
    case proto::Request::KIND_NOT_SET:
      break;
  }
  return unsupported("a request of a kind that this version does not know");
}

}  // namespace dynamo::wire
