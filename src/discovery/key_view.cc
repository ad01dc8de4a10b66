#include "discovery/key_view.h"

#include <utility>

namespace dynamo::discovery {

std::optional<KeyView::Changes> KeyView::replace(const Keys& keys, Missing missing) {
  kept_.clear();
  for (const auto& [key, value] : told_) {
    if (!keys.contains(key)) kept_.insert(key);
  }
  Changes changes;
  if (missing == Missing::kGone) changes = settle();
  for (const auto& [key, value] : keys) {
    KeyChange change{key, value};
    if (apply(change)) changes.push_back(std::move(change));
  }
  const bool is_first = !std::exchange(is_told_, true);
  if (changes.empty() && !is_first) return std::nullopt;
  return changes;
}

bool KeyView::apply(const KeyChange& change) {
  kept_.erase(change.key);
  if (!change.value) return told_.erase(change.key) > 0;
  const auto [at, is_new] = told_.try_emplace(change.key, *change.value);
  if (is_new) return true;
  if (at->second == *change.value) return false;
  at->second = *change.value;
  return true;
}

KeyView::Changes KeyView::settle() {
  Changes changes;
  for (const std::string& key : std::exchange(kept_, {})) {
    told_.erase(key);
    changes.push_back({key, std::nullopt});
  }
  return changes;
}

}  // namespace dynamo::discovery
