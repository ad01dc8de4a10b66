// NIXL itself, for tests: where the environment says, as for an app, or else in build/venv, which scripts/test_python.sh makes.
// Threads: pure functions.
#pragma once

#include <cstdlib>
#include <string>

#include "transfer/nixl/nixl_api.h"

namespace dynamo::transfer::nixl {

// The path of the library, or why there is none.
inline Result<std::string> real_library() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return unsupported("the real library and the sanitizers do not bear each other");
#else
  NixlLibrary library;
  for (const char* name : {"NIXL_PREFIX", "VIRTUAL_ENV"}) {
    if (const char* prefix = std::getenv(name)) library.prefixes.emplace_back(prefix);
  }
  library.prefixes.emplace_back(DYNAMO_SOURCE_DIR "/build/venv");
  TRY(const Api api, load(library));
  return api.path;
#endif
}

}  // namespace dynamo::transfer::nixl
