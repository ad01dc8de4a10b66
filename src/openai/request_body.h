// A request's body as JSON, and what is wrong with it as the API says it.
// Threads: pure functions.  Private to the module.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "json/problem.h"
#include "openai/error.h"

namespace dynamo::openai {

// Why a member is refused that nobody asked for.
inline constexpr std::string_view kUnknownMember = "This server does not know it.";

// Parses a whole body; a byte order mark before it is skipped. Of a name given twice in an object the last counts.
// Returns: what is wrong (no JSON, with the position; nested too deep; no UTF-8; not an object; too large in memory), or
// none and the object in `out`.
std::optional<ApiError> parse_body(std::string_view body, uint32_t max_depth, std::optional<json::value>* out);

// "Invalid value for 'n': expected an integer from 1 to 128, but got 0."; of no problem none.
std::optional<ApiError> to_api_error(const json::FirstProblem& problem);

}  // namespace dynamo::openai
