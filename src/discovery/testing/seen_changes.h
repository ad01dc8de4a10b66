// What a watch was told, for tests that wait for it.
// Threads: any.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/testing/patience.h"
#include "discovery/registry.h"

namespace dynamo::discovery {

inline KeyChange is_now(std::string key, std::string value) {
  return {std::move(key), std::move(value)};
}
inline KeyChange is_gone(std::string key) {
  return {std::move(key), std::nullopt};
}

// Must outlive the watch.
class SeenChanges {
 public:
  OnChanges callback() {
    return [this](std::span<const KeyChange> changes) { calls_.add({changes.begin(), changes.end()}); };
  }

  // Each wait returns whether it came in time. All changes told so far, one after the other, are these:
  bool wait_for(const std::vector<KeyChange>& wanted) const {
    return calls_.wait([&](const Calls& calls) { return flat(calls) == wanted; });
  }
  // What all changes so far come to is this view, told in at least one call:
  bool wait_for_view(const std::map<std::string, std::string>& wanted) const {
    return calls_.wait([&](const Calls& calls) { return !calls.empty() && view_of(flat(calls)) == wanted; });
  }
  bool wait_for_first() const { return calls_.wait_for_count(1); }

  std::vector<KeyChange> first() const { return calls_.all().front(); }
  std::vector<KeyChange> all() const { return flat(calls_.all()); }
  std::string to_string() const {
    std::string text;
    for (const KeyChange& change : all()) text += fmt::format("{}={} ", change.key, change.value.value_or("(gone)"));
    return text;
  }

 private:
  using Calls = std::vector<std::vector<KeyChange>>;

  static std::vector<KeyChange> flat(const Calls& calls) {
    std::vector<KeyChange> changes;
    for (const auto& call : calls) changes.insert(changes.end(), call.begin(), call.end());
    return changes;
  }
  static std::map<std::string, std::string> view_of(const std::vector<KeyChange>& changes) {
    std::map<std::string, std::string> view;
    for (const KeyChange& change : changes) {
      if (change.value) {
        view[change.key] = *change.value;
      } else {
        view.erase(change.key);
      }
    }
    return view;
  }

  Seen<std::vector<KeyChange>> calls_;
};

}  // namespace dynamo::discovery
