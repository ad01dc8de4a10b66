#include "model/testing/smollm2.h"

#include <cstdlib>
#include <filesystem>

namespace dynamo::model::testing {

std::string smollm2_path() {
#ifdef __SANITIZE_THREAD__
  return {};  // a real model takes minutes then; threads are tested with small ones
#endif
  const char* cache = std::getenv("DYNAMO_CACHE");
  const char* home = std::getenv("HOME");
  const std::filesystem::path folder =
      cache ? std::filesystem::path(cache) : std::filesystem::path(home ? home : "/") / ".cache/dynamo";
  const std::filesystem::path path = folder / "SmolLM2-135M-Instruct.Q4_1.gguf";
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) ? path.string() : std::string();
}

}  // namespace dynamo::model::testing
