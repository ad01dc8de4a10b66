// CHECK: stops the program on a bug of ours, with the place and what was expected.
// Never for input, peers or devices: those are Status (base/status.h). Always on, in release builds too; DCHECK is for
// inner loops.
#pragma once

#include <string>

namespace dynamo {
// Prints "CHECK failed: ..." with the place to stderr and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* expression, const std::string& detail);
}  // namespace dynamo

#define CHECK(condition)                                                     \
  do {                                                                       \
    if (!(condition)) [[unlikely]]                                           \
      ::dynamo::check_failed(__FILE__, __LINE__, #condition, std::string()); \
  } while (0)
#define CHECK_OK(result)                                                                  \
  do {                                                                                    \
    if (!(result).is_ok()) [[unlikely]]                                                   \
      ::dynamo::check_failed(__FILE__, __LINE__, #result, (result).status().to_string()); \
  } while (0)
#ifdef NDEBUG
#define DCHECK(condition) static_cast<void>(0)
#else
#define DCHECK(condition) CHECK(condition)
#endif
