// Parameters that chat completions and completions share.
// Threads: values and pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "generate/generate_request.h"
#include "generate/model_card.h"
#include "openai/object_reader.h"

namespace dynamo::openai {

struct RequestParams {
  std::string model;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int64_t> top_k;
  double min_p = 0;
  double repetition_penalty = 1;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::optional<uint64_t> seed;
  std::vector<std::pair<TokenId, float>> logit_bias;
  std::optional<int64_t> max_tokens;
  int64_t min_tokens = 0;
  bool ignores_eos = false;
  std::vector<TokenId> stop_token_ids;
  std::vector<std::string> stop;
  bool includes_stop_string = false;
  bool skips_special_tokens = true;
  int64_t choices = 1;
  bool is_stream = false;
  bool includes_usage = false;
  bool has_continuous_usage = false;
  int64_t priority = 0;
  uint64_t cache_salt = 0;
};

// Reads them, those at top level and those in `nvext` (top level wins). Errors stay in the reader.
RequestParams read_params(ObjectReader* reader, uint32_t max_choices);

// Sampling and stop conditions as the engine takes them; the model's advice fills what the request leaves open. max_tokens is left alone.
GenerateRequest to_generate_request(const RequestParams& params, const ModelCard& card);

// A JSON text as an object. Errors: not JSON (with the place), too deep, not an object.
std::optional<ApiError> parse_body(std::string_view body, uint32_t max_depth, boost::json::object* out);

}  // namespace dynamo::openai
