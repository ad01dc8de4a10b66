// Finds the default model for tests that need real weights.
// Threads: pure functions.
#pragma once

#include <string>

namespace dynamo::model::testing {

// The path of SmolLM2-135M-Instruct.Q4_1.gguf in the cache folder ($DYNAMO_CACHE, default ~/.cache/dynamo), or empty if
// it is not there, or the build is one of ThreadSanitizer.
std::string smollm2_path();

inline constexpr const char* kSmolLm2Missing =
    "SmolLM2-135M-Instruct.Q4_1.gguf is not in the cache folder (scripts/fetch_model.sh fetches it), or this is a "
    "ThreadSanitizer build";

}  // namespace dynamo::model::testing
