// What a watcher has been told of the keys under its prefix, and what it is to be told next.
//
// A store tells changes one by one, or everything at once after it was away; a watcher wants each real change once. Every Registry
// runs what its store says through one of these. A store that forgot everything (it was started again) may not have heard of all
// keys yet: those can be kept until settle(), so that a restart does not look like the death of everybody.
// Threads: one.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "discovery/registry.h"

namespace dynamo::discovery {

class KeyView {
 public:
  using Keys = std::map<std::string, std::string>;
  using Changes = std::vector<KeyChange>;
  enum class Missing { kGone, kKept };

  // These are all keys there are now; what was told and is missing is gone, or kept until settle().
  // Returns: what to tell, if anything: first what is gone; the first time every key, even if there is none.
  std::optional<Changes> replace(const Keys& keys, Missing missing = Missing::kGone);
  // One change. Returns: whether it is one: the same value again, or the removal of an unknown key, is none.
  bool apply(const KeyChange& change);
  // The keys kept so far are gone unless they came back. Returns: what to tell, perhaps nothing.
  Changes settle();

 private:
  bool is_told_ = false;
  Keys told_;
  std::set<std::string> kept_;  // told, but missing in the store
};

}  // namespace dynamo::discovery
