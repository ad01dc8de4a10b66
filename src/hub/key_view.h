// What a watcher has been told of the keys under its prefix, and what it is to be told next.
//
// A view rebuilt after an outage is told as its difference to the last one. When the hub forgot everything (it was started again),
// keys that nobody has announced again yet are kept until settle(), so that a restart does not look like the death of everybody.
// Threads: one.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "discovery/registry.h"

namespace dynamo::hub {

class KeyView {
 public:
  using Keys = std::map<std::string, std::string>;
  using Changes = std::vector<discovery::KeyChange>;

  // The view as it is now. Returns: what to tell, if anything; the first time every key, even if there is none.
  std::optional<Changes> replace(const Keys& keys, bool keeps_missing);
  // One change. Returns: what to tell, if it is one.
  std::optional<Changes> apply(discovery::KeyChange change);
  // The keys kept so far are gone unless they came back. Returns: what to tell, if anything.
  std::optional<Changes> settle();

 private:
  bool is_told_ = false;
  Keys told_;
  std::set<std::string> kept_;  // told, but missing in the hub
};

}  // namespace dynamo::hub
