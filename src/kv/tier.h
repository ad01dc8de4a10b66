// Where a worker keeps KV blocks.  Threads: values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dynamo::kv {

// Nearest to the device first. The numbers travel (wire/messages.proto).
enum class Tier : uint8_t {
  kDevice,  // steps read it there
  kHost,    // memory of the worker's machine
  kDisk
};
inline constexpr std::array kAllTiers = {Tier::kDevice, Tier::kHost, Tier::kDisk};
inline constexpr std::array kLowerTiers = {Tier::kHost, Tier::kDisk};
inline constexpr size_t kTiers = kAllTiers.size();

// Of a number that came over the network. Returns: none if this version knows no lower tier of that number.
constexpr std::optional<Tier> lower_tier(uint32_t number) {
  return number > 0 && number < kTiers ? std::optional(static_cast<Tier>(number)) : std::nullopt;
}

constexpr std::string_view name_of(Tier tier) {
  return std::array<std::string_view, kTiers>{"device", "host", "disk"}[static_cast<size_t>(tier)];
}

// One for each tier.
template <class T>
struct PerTier {
  std::array<T, kTiers> all{};
  T& operator[](Tier tier) { return all[static_cast<size_t>(tier)]; }
  const T& operator[](Tier tier) const { return all[static_cast<size_t>(tier)]; }
  bool operator==(const PerTier&) const = default;
};

}  // namespace dynamo::kv
