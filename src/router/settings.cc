#include "router/settings.h"

#include <array>
#include <utility>

namespace dynamo::router {
namespace {

constexpr std::array<std::pair<Mode, std::string_view>, 6> kNames = {{{Mode::kKv, "kv"},
                                                                      {Mode::kRoundRobin, "round-robin"},
                                                                      {Mode::kRandom, "random"},
                                                                      {Mode::kPowerOfTwo, "power-of-two"},
                                                                      {Mode::kLeastLoaded, "least-loaded"},
                                                                      {Mode::kDirect, "direct"}}};

}  // namespace

std::string_view mode_name(Mode mode) {
  for (const auto& [known, name] : kNames)
    if (known == mode) return name;
  return "?";
}

std::string_view mode_name(const RouterOptions& options) {
  return options.library ? "library" : mode_name(options.mode);
}

}  // namespace dynamo::router
