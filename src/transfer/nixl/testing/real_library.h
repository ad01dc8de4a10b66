// NIXL itself, for tests: in $NIXL_PREFIX, in the wheel nixl-cu13 of $VIRTUAL_ENV, or else of build/venv, which scripts/test_python.sh
// makes.  Threads: one.
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
  if (const auto found = load(""); found.is_ok()) return found->path;
  ::setenv("VIRTUAL_ENV", DYNAMO_SOURCE_DIR "/build/venv", 1);
  TRY(const Api api, load(""));
  return api.path;
#endif
}

}  // namespace dynamo::transfer::nixl
