#include "openai/request_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "generate/sampling_limits.h"
#include "json/read.h"
#include "openai/request_body.h"

namespace dynamo::openai {
namespace {

constexpr int64_t kMaxUint32 = std::numeric_limits<uint32_t>::max();
constexpr size_t kMaxStopStrings = 16;
constexpr size_t kMaxStopBytes = 1024;
constexpr size_t kMaxStopTokenIds = 256;

std::string at(std::string_view path, size_t index) {
  return fmt::format("{}[{}]", path, index);
}

std::optional<uint32_t> to_uint32(std::optional<int64_t> value) {
  if (!value) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

void read_stop_string(const json::value& value, const std::string& path, json::FirstProblem* problem,
                      std::vector<std::string>* out) {
  const json::string* text = value.if_string();
  if (!text) return problem->wrong_type(path, "a string", value);
  if (text->empty() || text->size() > kMaxStopBytes) {
    return problem->wrong_value(path, fmt::format("a string of 1 to {} bytes", kMaxStopBytes),
                                text->empty() ? "an empty one" : fmt::format("one of {} bytes", text->size()));
  }
  out->emplace_back(text->data(), text->size());
}

void read_stop(json::ObjectReader* body, std::vector<std::string>* out) {
  const json::value* value = body->value("stop");
  if (!value) return;
  const std::string path = body->path_of("stop");
  if (value->is_string()) return read_stop_string(*value, path, &body->problem(), out);
  const json::array* list = value->if_array();
  if (!list) return body->problem().wrong_type(path, "a string or an array of strings", *value);
  if (list->size() > kMaxStopStrings) {
    return body->problem().wrong_value(path, fmt::format("at most {} strings", kMaxStopStrings),
                                       fmt::format("{}", list->size()));
  }
  for (size_t i = 0; i < list->size(); ++i) read_stop_string((*list)[i], at(path, i), &body->problem(), out);
}

void read_stop_token_ids(json::ObjectReader* body, std::vector<TokenId>* out) {
  const json::array* list = body->array("stop_token_ids");
  if (!list) return;
  const std::string path = body->path_of("stop_token_ids");
  if (list->size() > kMaxStopTokenIds) {
    return body->problem().wrong_value(path, fmt::format("at most {} token ids", kMaxStopTokenIds),
                                       fmt::format("{}", list->size()));
  }
  for (size_t i = 0; i < list->size(); ++i) {
    const auto id = json::read_integer((*list)[i], at(path, i), 0, kMaxUint32, &body->problem());
    if (id) out->push_back(static_cast<TokenId>(*id));
  }
}

// {"50256": -100}: token ids as names, without leading zeros, so that none comes twice.
void read_logit_bias(json::ObjectReader* body, std::vector<std::pair<TokenId, float>>* out) {
  const json::object* biases = body->object("logit_bias");
  if (!biases) return;
  const std::string path = body->path_of("logit_bias");
  json::ObjectReader reader(*biases, path, &body->problem());
  out->reserve(biases->size());
  for (const auto& member : *biases) {
    const std::string_view name(member.key().data(), member.key().size());
    TokenId id = 0;
    const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), id);
    const bool is_id =
        failure == std::errc() && end == name.data() + name.size() && (name.front() != '0' || name.size() == 1);
    if (!is_id) return body->problem().wrong_value(path, "token ids as names", json::quote(name));
    if (member.value().is_null()) {
      return body->problem().wrong_type(reader.path_of(name), "a number", member.value());
    }
    if (const auto bias = reader.number(name, -100, 100)) out->emplace_back(id, static_cast<float>(*bias));
    if (body->problem().has_value()) return;
  }
}

void read_stream(json::ObjectReader* body, RequestOptions* options) {
  options->is_stream = body->boolean("stream").value_or(false);
  const json::object* stream_options = body->object("stream_options");
  if (!stream_options) return;
  if (!options->is_stream) {
    return body->problem().wrong_value("stream_options", "it only with 'stream': true", "it without");
  }
  json::ObjectReader reader(*stream_options, "stream_options", &body->problem());
  options->includes_usage = reader.boolean("include_usage").value_or(false);
  options->has_continuous_usage = reader.boolean("continuous_usage_stats").value_or(false) && options->includes_usage;
  reader.boolean("include_obfuscation");  // there is none to leave out
  reader.refuse_unknown(kUnknownMember);
}

std::optional<uint64_t> read_seed(json::ObjectReader* body) {
  const json::value* value = body->value("seed");
  if (!value) return std::nullopt;
  if (value->is_uint64()) return value->get_uint64();
  const auto seed = json::read_integer(*value, "seed", std::numeric_limits<int64_t>::min(),
                                       std::numeric_limits<int64_t>::max(), &body->problem());
  if (!seed) return std::nullopt;
  return static_cast<uint64_t>(*seed);
}

// What OpenAI's API does not have, by the names that vLLM and SGLang give it. In nvext, where Dynamo's clients put it, the
// same names count where the body itself is silent.
void read_extensions(json::ObjectReader* reader, RequestOptions* options) {
  if (const auto flag = reader->boolean("ignore_eos")) options->ignores_eos = *flag;
  if (const auto count = reader->integer("min_tokens", 0, kMaxUint32))
    options->min_tokens = static_cast<uint32_t>(*count);
  if (const auto k = reader->integer("top_k", -1, std::numeric_limits<int32_t>::max())) {
    options->top_k = static_cast<int32_t>(std::max<int64_t>(*k, 0));
  }
  if (const auto p = reader->number("min_p", 0, 1)) options->min_p = *p;
  if (const auto penalty = reader->number("repetition_penalty", 0, 2, true)) options->repetition_penalty = *penalty;
}

// "2a" or 42: the instance that /health shows, or its number.
std::optional<uint64_t> read_instance(json::ObjectReader* reader, json::FirstProblem* problem) {
  const json::value* value = reader->value("backend_instance_id");
  if (!value) return std::nullopt;
  if (value->is_uint64()) return value->get_uint64();
  if (const auto number = json::whole_number(*value); number && *number > 0) return static_cast<uint64_t>(*number);
  const std::string path = reader->path_of("backend_instance_id");
  if (!value->is_string()) {
    problem->wrong_type(path, "an instance's hexadecimal name or number", *value);
    return std::nullopt;
  }
  const std::string_view text = value->get_string();
  uint64_t instance = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), instance, 16);
  if (failure == std::errc() && end == text.data() + text.size() && instance != 0) return instance;
  problem->wrong_value(path, "an instance's hexadecimal name", json::quote(text));
  return std::nullopt;
}

void read_routing(json::ObjectReader* extensions, json::FirstProblem* problem, RoutingHints* out) {
  out->instance = read_instance(extensions, problem);
  const json::object* config = extensions->object("router_config_override");
  if (!config) return;
  json::ObjectReader reader(*config, extensions->path_of("router_config_override"), problem);
  out->overlap_weight = reader.number("overlap_score_weight", 0, 100);
  out->temperature = reader.number("router_temperature", 0, 100);
  reader.refuse_unknown(kUnknownMember);
}

void read_nvext(json::ObjectReader* body, RequestOptions* options) {
  const json::object* extensions = body->object("nvext");
  if (!extensions) return;
  json::ObjectReader reader(*extensions, "nvext", &body->problem());
  read_extensions(&reader, options);
  read_routing(&reader, &body->problem(), &options->routing);
  reader.array("annotations");  // ask for more to see, not for another answer
  reader.refuse_unknown(kUnknownMember);
}

// Those that ask for nothing of an answer, or for nothing in the one value that is taken.
void read_ignored(json::ObjectReader* body) {
  for (const char* name : {"user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"})
    body->string(name);
  body->object("metadata");
  if (body->boolean("store").value_or(false))
    body->problem().unsupported("store", "Answers are not stored; leave it false.");
  const auto tier = body->string("service_tier");
  if (tier && *tier != "auto" && *tier != "default") {
    body->problem().unsupported("service_tier", "There is one tier; 'auto' and 'default' name it.");
  }
}

}  // namespace

RequestOptions read_options(json::ObjectReader* body, const RequestLimits& limits) {
  RequestOptions options;
  options.model = body->required_string("model");
  options.n = static_cast<uint32_t>(body->integer("n", 1, limits.max_choices).value_or(1));
  read_stream(body, &options);
  options.max_tokens = to_uint32(body->integer("max_tokens", 1, kMaxUint32));
  options.temperature = body->number("temperature", 0, 2);
  options.top_p = body->number("top_p", 0, 1, true);
  options.presence_penalty = body->number("presence_penalty", -2, 2).value_or(0);
  options.frequency_penalty = body->number("frequency_penalty", -2, 2).value_or(0);
  options.seed = read_seed(body);
  read_logit_bias(body, &options.logit_bias);
  read_stop(body, &options.stop);
  read_nvext(body, &options);
  read_extensions(body, &options);
  read_stop_token_ids(body, &options.stop_token_ids);
  options.skips_special_tokens = body->boolean("skip_special_tokens").value_or(true);
  options.includes_stop = body->boolean("include_stop_str_in_output").value_or(false);
  constexpr int64_t kPriority = std::numeric_limits<int32_t>::max();
  options.priority = static_cast<int32_t>(body->integer("priority", -kPriority, kPriority).value_or(0));
  if (const auto salt = body->string("cache_salt"); salt && !salt->empty()) options.cache_salt = kv::salt_of(*salt);
  read_ignored(body);
  return options;
}

std::optional<ApiError> check_token_ids(const RequestOptions& options, uint32_t vocab_size) {
  json::FirstProblem problem;
  const std::string expected = fmt::format("a token id below the vocabulary's size, {}", vocab_size);
  for (const auto& [id, bias] : options.logit_bias) {
    if (id >= vocab_size) problem.wrong_value(fmt::format("logit_bias.{}", id), expected, fmt::format("{}", id));
  }
  for (size_t i = 0; i < options.stop_token_ids.size(); ++i) {
    const TokenId id = options.stop_token_ids[i];
    if (id >= vocab_size) problem.wrong_value(at("stop_token_ids", i), expected, fmt::format("{}", id));
  }
  return to_api_error(problem);
}

GenerateRequest to_generate_request(const RequestOptions& options, const ModelCard& card, uint32_t choice) {
  GenerateRequest request;
  request.model = card.name;
  SamplingParams& sampling = request.sampling;
  sampling.temperature = static_cast<float>(options.temperature.value_or(card.default_temperature.value_or(1.0F)));
  sampling.top_p = static_cast<float>(options.top_p.value_or(card.default_top_p.value_or(1.0F)));
  sampling.top_k = options.top_k.value_or(card.default_top_k.value_or(0));
  sampling.min_p = static_cast<float>(options.min_p);
  sampling.repetition_penalty = static_cast<float>(options.repetition_penalty);
  sampling.presence_penalty = static_cast<float>(options.presence_penalty);
  sampling.frequency_penalty = static_cast<float>(options.frequency_penalty);
  clamp_to_limits(&sampling);
  if (options.seed) sampling.seed = *options.seed + choice;
  sampling.logit_bias = options.logit_bias;
  request.stop.min_tokens = options.min_tokens;
  if (!options.ignores_eos) request.stop.stop_token_ids = card.eos_token_ids;
  request.stop.stop_token_ids.insert(request.stop.stop_token_ids.end(), options.stop_token_ids.begin(),
                                     options.stop_token_ids.end());
  request.logprobs = options.logprobs;
  request.priority = options.priority;
  request.prompt.salt = options.cache_salt;
  request.routing = options.routing;
  return request;
}

}  // namespace dynamo::openai
