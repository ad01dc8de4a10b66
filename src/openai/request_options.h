// The parameters that chat and text completions have in common: names, ranges, and what they ask of the engine.
// Reference for clients: docs/reference/http_api.md.  Private to the module.  Threads: values and pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "generate/generate_request.h"
#include "generate/model_card.h"
#include "json/object_reader.h"
#include "kv/prompt.h"
#include "openai/error.h"

namespace dynamo::openai {

// What one request may ask for.
struct RequestLimits {
  uint32_t max_choices = 128;       // n at most
  uint32_t max_generations = 1024;  // prompts times n at most
  uint32_t max_depth = 64;          // nesting of the JSON body
};

// As the client sent them; what is absent is the model's or the endpoint's to decide.
struct RequestOptions {
  std::string model;
  uint32_t n = 1;
  bool is_stream = false;
  bool includes_usage = false;        // a last chunk with usage
  bool has_continuous_usage = false;  // usage in every chunk
  std::optional<uint32_t> max_tokens;
  uint32_t min_tokens = 0;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int32_t> top_k;
  double min_p = 0;
  double repetition_penalty = 1;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::optional<uint64_t> seed;
  std::vector<std::pair<TokenId, float>> logit_bias;
  std::vector<std::string> stop;
  std::vector<TokenId> stop_token_ids;
  bool ignores_eos = false;
  bool skips_special_tokens = true;
  bool includes_stop = false;        // the stop string is part of the text
  std::optional<uint32_t> logprobs;  // alternatives per token; 0: the drawn token alone
  int32_t priority = 0;
  kv::Fingerprint cache_salt;
  RoutingHints routing;
};

// Reads everything but `logprobs`, whose form differs. Errors are kept in the reader's json::FirstProblem.
RequestOptions read_options(json::ObjectReader* body, const RequestLimits& limits);

// Whether each token named is one of the model's. Errors: kInvalid with the path of the member.
std::optional<ApiError> check_token_ids(const RequestOptions& options, uint32_t vocab_size);

// What the options ask of the engine for one choice, with the model's defaults where they are silent: all but id, prompt,
// max_tokens and deadline. Choices of one request have different seeds.
GenerateRequest to_generate_request(const RequestOptions& options, const ModelCard& card, uint32_t choice);

}  // namespace dynamo::openai
