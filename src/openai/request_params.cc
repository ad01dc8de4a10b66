#include "openai/request_params.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/check.h"

namespace dynamo::openai {
namespace json = boost::json;
namespace {

constexpr int64_t kMaxTokens = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxStops = 16;

void read_stop(ObjectReader* reader, RequestParams* params) {
  const json::value* stop = reader->value("stop");
  if (!stop) return;
  const auto add = [&](const json::value& value) {
    const json::string* text = value.if_string();
    if (!text)
      return reader->fail("stop",
                          fmt::format("'stop' must be a string or an array of strings, not {}", kind_name(value)),
                          "invalid_type");
    if (text->empty()) return reader->fail("stop", "'stop' holds an empty string", "invalid_value");
    params->stop.emplace_back(text->data(), text->size());
  };
  if (const json::array* stops = stop->if_array()) {
    if (stops->size() > kMaxStops)
      reader->fail("stop", fmt::format("'stop' holds {} strings; at most {} are accepted", stops->size(), kMaxStops));
    for (const json::value& one : *stops) add(one);
  } else {
    add(*stop);
  }
}

void read_stop_token_ids(ObjectReader* reader, RequestParams* params) {
  const json::array* ids = reader->array("stop_token_ids");
  if (!ids) return;
  for (const json::value& id : *ids) {
    if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() > std::numeric_limits<TokenId>::max()) {
      return reader->fail("stop_token_ids", "'stop_token_ids' must hold token ids", "invalid_type");
    }
    params->stop_token_ids.push_back(static_cast<TokenId>(id.get_int64()));
  }
}

void read_logit_bias(ObjectReader* reader, RequestParams* params) {
  const json::object* bias = reader->object("logit_bias");
  if (!bias) return;
  for (const auto& [key, value] : *bias) {
    TokenId token = 0;
    const auto parsed = std::from_chars(key.data(), key.data() + key.size(), token);
    if (parsed.ec != std::errc() || parsed.ptr != key.data() + key.size()) {
      return reader->fail(
          "logit_bias",
          fmt::format("'logit_bias' has the key '{}', which is no token id", std::string_view(key.data(), key.size())),
          "invalid_value");
    }
    const double amount = value.is_number() ? value.to_number<double>() : 1e9;
    if (amount < -100 || amount > 100) {
      return reader->fail("logit_bias", "'logit_bias' must map token ids to numbers between -100 and 100",
                          "invalid_value");
    }
    params->logit_bias.emplace_back(token, static_cast<float>(amount));
  }
}

void read_stream(ObjectReader* reader, RequestParams* params) {
  params->is_stream = reader->boolean("stream").value_or(false);
  const json::object* options = reader->object("stream_options");
  if (!options) return;
  if (!params->is_stream) reader->fail("stream_options", "'stream_options' goes with 'stream': true", "invalid_value");
  ObjectReader inner(options, "stream_options.");
  params->includes_usage = inner.boolean("include_usage").value_or(false);
  params->has_continuous_usage = inner.boolean("continuous_usage_stats").value_or(false);
  inner.ignore({"include_obfuscation"});
  if (const auto error = inner.finish()) reader->fail(error->param, error->message, error->code);
}

// FNV-1a: a salt only has to differ where the texts differ.
uint64_t salt_of(const std::string& text) {
  uint64_t hash = 14695981039346656037U;
  for (const unsigned char c : text) hash = (hash ^ c) * 1099511628211U;
  return text.empty() ? 0 : hash | 1;
}

// What other open servers accept beyond OpenAI's parameters, at top level or in nvext.
void read_extensions(ObjectReader* reader, RequestParams* params) {
  if (const auto value = reader->integer("top_k", -1, kMaxTokens)) params->top_k = *value;
  if (const auto value = reader->number("min_p", 0, 1)) params->min_p = *value;
  if (const auto value = reader->number("repetition_penalty", 0, 2)) {
    params->repetition_penalty = *value;
    if (*value == 0) reader->fail("repetition_penalty", "'repetition_penalty' must be above 0", "invalid_value");
  }
  if (const auto value = reader->integer("min_tokens", 0, kMaxTokens)) params->min_tokens = *value;
  if (const auto value = reader->boolean("ignore_eos")) params->ignores_eos = *value;
  if (const auto value = reader->integer("priority", -1000000, 1000000)) params->priority = *value;
  if (const auto value = reader->text("cache_salt")) params->cache_salt = salt_of(*value);
}

}  // namespace

RequestParams read_params(ObjectReader* reader, uint32_t max_choices) {
  RequestParams params;
  if (auto model = reader->text("model")) {
    params.model = std::move(*model);
  } else {
    reader->fail("model", "'model' is missing", "missing_parameter");
  }
  if (const json::object* nvext = reader->object("nvext")) {
    ObjectReader inner(nvext, "nvext.");
    read_extensions(&inner, &params);
    inner.ignore({"annotations"});
    if (const auto error = inner.finish()) reader->fail(error->param, error->message, error->code);
  }
  read_extensions(reader, &params);
  params.temperature = reader->number("temperature", 0, 2);
  params.top_p = reader->number("top_p", 0, 1);
  if (params.top_p == 0.0) reader->fail("top_p", "'top_p' is 0; it must be above 0 and at most 1", "invalid_value");
  params.presence_penalty = reader->number("presence_penalty", -2, 2).value_or(0);
  params.frequency_penalty = reader->number("frequency_penalty", -2, 2).value_or(0);
  if (const auto seed =
          reader->integer("seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max())) {
    params.seed = static_cast<uint64_t>(*seed);
  }
  params.max_tokens = reader->integer("max_tokens", 1, kMaxTokens);
  params.choices = reader->integer("n", 1, max_choices).value_or(1);
  params.includes_stop_string = reader->boolean("include_stop_str_in_output").value_or(false);
  params.skips_special_tokens = reader->boolean("skip_special_tokens").value_or(true);
  read_stop(reader, &params);
  read_stop_token_ids(reader, &params);
  read_logit_bias(reader, &params);
  read_stream(reader, &params);
  reader->ignore({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"});
  return params;
}

GenerateRequest to_generate_request(const RequestParams& params, const ModelCard& card) {
  GenerateRequest request;
  request.model = card.name;
  SamplingParams& sampling = request.sampling;
  sampling.temperature =
      params.temperature ? static_cast<float>(*params.temperature) : card.default_temperature.value_or(1.0F);
  sampling.top_p = params.top_p ? static_cast<float>(*params.top_p) : card.default_top_p.value_or(1.0F);
  sampling.top_k =
      params.top_k ? static_cast<int32_t>(std::max<int64_t>(*params.top_k, 0)) : card.default_top_k.value_or(0);
  sampling.min_p = static_cast<float>(params.min_p);
  sampling.repetition_penalty = static_cast<float>(params.repetition_penalty);
  sampling.presence_penalty = static_cast<float>(params.presence_penalty);
  sampling.frequency_penalty = static_cast<float>(params.frequency_penalty);
  sampling.seed = params.seed;
  sampling.logit_bias = params.logit_bias;
  request.stop.min_tokens = static_cast<uint32_t>(params.min_tokens);
  request.stop.stop_token_ids = params.stop_token_ids;
  if (!params.ignores_eos) {
    request.stop.stop_token_ids.insert(request.stop.stop_token_ids.end(), card.eos_token_ids.begin(),
                                       card.eos_token_ids.end());
  }
  request.priority = static_cast<int32_t>(params.priority);
  request.cache_salt = params.cache_salt;
  return request;
}

std::optional<ApiError> parse_body(std::string_view body, uint32_t max_depth, json::object* out) {
  if (body.empty()) return ApiError{400, "the body is empty; a JSON object was expected", "", "invalid_json"};
  json::parse_options options;
  options.max_depth = max_depth;
  json::stream_parser parser({}, options);
  boost::system::error_code error;
  const size_t used = parser.write_some(body.data(), body.size(), error);
  if (!error && used < body.size() && body.find_first_not_of(" \t\r\n", used) != std::string_view::npos)
    error = json::error::extra_data;
  if (!error) parser.finish(error);
  if (error == json::error::too_deep) {
    return ApiError{400, fmt::format("the body is nested too deep; {} levels are accepted", max_depth), "",
                    "invalid_json"};
  }
  if (error)
    return ApiError{400, fmt::format("the body is not JSON: {} at byte {}", error.message(), used), "", "invalid_json"};
  json::value value = parser.release();
  if (!value.is_object()) {
    return ApiError{400, fmt::format("the body must be a JSON object, not {}", kind_name(value)), "", "invalid_json"};
  }
  *out = std::move(value.get_object());
  return std::nullopt;
}

}  // namespace dynamo::openai
