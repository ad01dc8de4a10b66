#include "hub/key_view.h"

namespace dynamo::hub {

std::optional<KeyView::Changes> KeyView::replace(const Keys& keys, bool keeps_missing) {
  Changes changes;
  std::set<std::string> missing;
  for (const auto& [key, value] : told_) {
    if (!keys.contains(key)) missing.insert(key);
  }
  for (const std::string& key : missing) {
    if (keeps_missing) continue;
    told_.erase(key);
    changes.push_back({key, std::nullopt});
  }
  kept_ = keeps_missing ? std::move(missing) : std::set<std::string>();
  for (const auto& [key, value] : keys) {
    const auto [at, is_new] = told_.try_emplace(key, value);
    if (!is_new && at->second == value) continue;
    at->second = value;
    changes.push_back({key, value});
  }
  const bool is_first = !std::exchange(is_told_, true);
  if (changes.empty() && !is_first) return std::nullopt;
  return changes;
}

std::optional<KeyView::Changes> KeyView::apply(discovery::KeyChange change) {
  kept_.erase(change.key);
  if (!change.value) {
    if (told_.erase(change.key) == 0) return std::nullopt;
  } else {
    const auto [at, is_new] = told_.try_emplace(change.key, *change.value);
    if (!is_new && at->second == *change.value) return std::nullopt;
    at->second = *change.value;
  }
  Changes changes;
  changes.push_back(std::move(change));
  return changes;
}

std::optional<KeyView::Changes> KeyView::settle() {
  if (kept_.empty()) return std::nullopt;
  Changes changes;
  for (const std::string& key : kept_) {
    told_.erase(key);
    changes.push_back({key, std::nullopt});
  }
  kept_.clear();
  return changes;
}

}  // namespace dynamo::hub
