#include "base/instance_id.h"

#include "base/random.h"

#include <charconv>

#include <fmt/format.h>

#include "base/random.h"

namespace dynamo {

uint64_t random_instance() {
  for (;;) {
    if (const uint64_t instance = random_bits(); instance != 0) return instance;
  }
}

std::string instance_text(uint64_t instance) {
  return fmt::format("{:016x}", instance);
}

std::optional<uint64_t> parse_instance(std::string_view text) {
  if (text.size() > 16 || text.find_first_not_of("0123456789abcdef") != std::string_view::npos) return std::nullopt;
  uint64_t instance = 0;
  std::from_chars(text.data(), text.data() + text.size(), instance, 16);
  return instance == 0 ? std::nullopt : std::optional(instance);
}

}  // namespace dynamo
