// The id of a process in the cluster, and how keys, subjects and JSON write it: 16 hexadecimal digits.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dynamo {

uint64_t random_instance();  // from the system's randomness; never 0
std::string instance_text(uint64_t instance);
// Leading zeros may be missing. None: it is no such text, or 0.
std::optional<uint64_t> parse_instance(std::string_view text);

}  // namespace dynamo
