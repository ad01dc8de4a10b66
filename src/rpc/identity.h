// Who a process says it is when a connection begins, and whom it will talk to.  Threads: values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace dynamo::rpc {

inline constexpr uint32_t kProtocol = 1;

struct Identity {
  std::string name_space = "dynamo";
  std::string version;    // of the program; told in errors, not compared
  uint64_t instance = 0;  // of a worker; 0: not one
};

std::string hello_of(const Identity& identity);
// Reads the peer's hello. Errors: kCorrupt (no hello), kUnsupported (another protocol: both numbers), kInvalid (another namespace:
// both names; or not the instance that was expected, when that is not 0).
Result<Identity> check_hello(std::string_view payload, const Identity& mine, uint64_t expected_instance);

}  // namespace dynamo::rpc
