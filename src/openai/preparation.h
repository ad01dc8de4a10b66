// From a request's body to what the engine is asked: parse, find the model, render, tokenize, and check the lengths.
// All of it is computing, none of it waits, so it can run on an I/O thread (short bodies) or on a pool (long ones).
// Threads: pure functions over their arguments.  Private to the module.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "openai/request_options.h"
#include "openai/served_model.h"

namespace dynamo::openai {

enum class Endpoint : uint8_t { kChat, kCompletions };

struct PreparedPrompt {
  std::vector<TokenId> tokens;  // not empty; with max_tokens within the model's context
  uint32_t max_tokens = 0;
  std::string echo;  // text that comes before the answer
};

struct PreparedRequest {
  Endpoint endpoint = Endpoint::kChat;
  std::shared_ptr<const ServedModel> model;  // null until it was found
  RequestOptions options;
  std::vector<PreparedPrompt> prompts;  // one for chat

  uint32_t choices() const { return static_cast<uint32_t>(prompts.size()) * options.n; }
  const PreparedPrompt& prompt_of(uint32_t choice) const { return prompts[choice / options.n]; }
};

// `now` is what a template may ask for. Returns: why the request cannot be served, or none. Even then `out` holds what
// was found before: the model and the options.
std::optional<ApiError> prepare(Endpoint endpoint, std::string_view body, const RequestLimits& limits,
                                const ModelDirectory& models, std::chrono::system_clock::time_point now,
                                PreparedRequest* out);

// The engine's request for one choice; choices are numbered prompt by prompt.
GenerateRequest generate_request(const PreparedRequest& prepared, uint32_t choice, const std::string& id,
                                 Time deadline);

// Why `models` does not have it: there is no such model, or it is too early to say.
ApiError unknown_model(std::string_view name, const ModelDirectory& models);

}  // namespace dynamo::openai
