// The hub's keys and leases, in memory.
//
// A lease belongs to one connection (its holder) and to its time to live: the holder's signs of life renew it, and when the
// holder is gone it goes on until its deadline, so that a client which comes back with its lease finds its keys in place.
// A key belongs to the lease that put it last, or to none. Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace dynamo::hub {

using LeaseId = uint64_t;   // 0: none
using HolderId = uint64_t;  // a connection, later ones have higher numbers; 0: none

class KeyStore {
 public:
  using Keys = std::map<std::string, std::string>;
  // Called after each change; no value: the key is gone. Must not call the store.
  using OnChange = std::function<void(const std::string& key, const std::string* value)>;
  struct Ended {
    LeaseId lease = 0;
    HolderId holder = 0;
  };

  // A key costs its bytes, its value's and 64 more; `max_bytes` bounds their sum.
  KeyStore(size_t max_bytes, OnChange on_change) : max_bytes_(max_bytes), on_change_(std::move(on_change)) {}

  // Creates the lease or takes it over, and makes its keys exactly `wishes`. Errors: kInvalid (time to live, a key),
  // kExhausted; the lease's keys are then what they were.
  Status grant(LeaseId id, Duration time_to_live, HolderId holder, Time now, const Keys& wishes);
  // Removes the lease and its keys. Errors: kNotFound.
  Status revoke(LeaseId id);

  // Errors: kNotFound (lease), kInvalid (key), kExhausted.
  Status put(LeaseId lease, const std::string& key, const std::string& value);
  // Puts if nobody has the key or this lease has. Returns: whether the lease has it now. Errors: as put().
  Result<bool> claim(LeaseId lease, const std::string& key, const std::string& value);
  // Under a lease only a key of that lease; without one any key. Errors: kNotFound (lease).
  Status remove(LeaseId lease, const std::string& key);
  Keys list(std::string_view prefix) const;

  // 0 if there is no such lease, or its holder is gone.
  HolderId holder(LeaseId id) const;
  // The holder was heard at `heard`: its leases last from then.
  void renew(HolderId holder, Time heard);
  // The holder is gone: its leases end at their deadlines unless they are taken over.
  void release(HolderId holder);
  // Moves every deadline: for time in which the hub itself stood still.
  void postpone(Duration by);
  // Ends the leases whose deadline is past. Returns: those that still had a holder, or 0 for it.
  std::vector<Ended> expire(Time now);

 private:
  struct Entry {
    std::string value;
    LeaseId lease = 0;
  };
  struct Lease {
    Duration time_to_live{};
    Time deadline;
    HolderId holder = 0;
    std::set<std::string> keys;
  };

  size_t cost_now(const std::string& key) const;
  Status check_room(size_t added, size_t freed) const;
  Status check_put(LeaseId lease, const std::string& key, const std::string& value) const;
  void set(LeaseId lease, const std::string& key, const std::string& value);
  void erase(const std::string& key);

  size_t max_bytes_;
  OnChange on_change_;
  size_t bytes_ = 0;
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<LeaseId, Lease> leases_;
};

}  // namespace dynamo::hub
