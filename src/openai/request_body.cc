#include "openai/request_body.h"

#include <fmt/format.h>

#include "json/parse.h"

namespace dynamo::openai {
namespace {

// What the values of one body may take in memory: far more than any context's worth of token ids, far less than the
// 16-fold that a body of the largest size could ask for.
constexpr size_t kMaxBodyMemory = 256U << 20;

ApiError bad_body(std::string message) {
  ApiError error;
  error.message = std::move(message);
  error.error_code = "invalid_json";
  return error;
}

std::string describe(const json::ParseFailure& failure, size_t size, uint32_t max_depth) {
  constexpr const char* kNotJson = "The request body is not valid JSON";
  using enum json::ParseFailure::Kind;
  switch (failure.kind) {
    case kTooDeep:
      return fmt::format("The request body is nested too deep: more than {} levels, at byte {}.", max_depth,
                         failure.position);
    case kEndsEarly:
      return fmt::format("{}: it ends too early, after {} bytes.", kNotJson, size);
    case kGoesOn:
      return fmt::format("{}: something follows its end at byte {}.", kNotJson, failure.position);
    case kTooLarge:
      return fmt::format("The request body has too many values: they take more than {} MiB.", kMaxBodyMemory >> 20);
    case kSyntax:
      break;
  }
  return fmt::format("{}: {} at byte {}.", kNotJson, failure.what, failure.position);
}

std::string_view describe(json::kind type) {
  using enum json::kind;
  switch (type) {
    case null:
      return "null";
    case bool_:
      return "a boolean";
    case int64:
    case uint64:
      return "an integer";
    case double_:
      return "a number with a fraction";
    case string:
      return "a string";
    case array:
      return "an array";
    case object:
      return "an object";
  }
  return "unknown";
}

}  // namespace

std::optional<ApiError> parse_body(std::string_view body, uint32_t max_depth, std::optional<json::value>* out) {
  if (body.empty()) return bad_body("The request body is empty; a JSON object was expected.");
  const auto failure = json::parse(body, {.max_depth = max_depth, .max_memory = kMaxBodyMemory}, out);
  if (failure) return bad_body(describe(*failure, body.size(), max_depth));
  if ((*out)->is_object()) return std::nullopt;
  return bad_body(fmt::format("The request body must be a JSON object, but it is {}.", describe((*out)->kind())));
}

std::optional<ApiError> to_api_error(const json::FirstProblem& problem) {
  if (!problem.has_value()) return std::nullopt;
  const json::Problem& p = *problem;
  using enum json::Problem::Kind;
  switch (p.kind) {
    case kMissing:
      return ApiError{Code::kInvalid, fmt::format("Missing required parameter: '{}'.", p.path), p.path,
                      "missing_required_parameter"};
    case kWrongType:
      return ApiError{
          Code::kInvalid,
          fmt::format("Invalid type for '{}': expected {}, but got {} instead.", p.path, p.expected, describe(p.type)),
          p.path, "invalid_type"};
    case kWrongValue: {
      const std::string_view range = p.range.empty() ? "" : p.excludes_least ? " above " : " from ";
      return ApiError{Code::kInvalid,
                      fmt::format("Invalid value for '{}': expected {}{}{}, but got {}.", p.path, p.expected, range,
                                  p.range, p.got),
                      p.path, "invalid_value"};
    }
    case kUnsupported:
      break;
  }
  return ApiError{Code::kUnsupported, fmt::format("Unsupported parameter: '{}'. {}", p.path, p.expected), p.path, ""};
}

}  // namespace dynamo::openai
