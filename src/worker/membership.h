// A worker's place in the registry: its name, its announcement, and the changes of its role.
//
// Keys: docs/reference/keys.md. Of the workers of a model one at a time looks whether others answer and says that
// it leaves, by a key that it claims meanwhile: of two that are told to leave at once, the second sees that the first
// has left.
// Threads: methods that block from one at a time, and no I/O thread; instance() and stop_waiting() from any.
// Private to the module.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "discovery/instance.h"
#include "discovery/registry.h"

namespace dynamo::worker {

class Membership {
 public:
  // `registry` outlives this. Of `self`, instance, role and version are set.
  Membership(discovery::Registry* registry, std::string name_space, discovery::WorkerInstance self,
             std::chrono::seconds lease_time);

  discovery::WorkerInstance instance() const;

  // Claims the first free name of its role ("worker-1", "prefill-worker-1", ...), held as long as the lease. Blocks;
  // waits for a registry that is away, for a minute at most. Errors: as Lease::claim, kExhausted.
  Status claim_name(Time until);
  // Announces it as what `self` says, with its name and role. Blocks. Errors: kInvalid (as discovery::check), as
  // Lease::sync.
  Status announce(discovery::WorkerInstance self, Time until);

  // Says that it takes no new requests until it has its new role, unless its model would be without anyone who answers.
  // Blocks.
  // Errors: kInvalid (it is the last: who else there is, and the remedy), kUnavailable (another one's turn does not
  // end), as the registry's; it is announced as before then.
  Status leave_role(discovery::Role to);
  // After leave_role(): has a name of the new role and is announced with it. Blocks. Errors: the registry's; it stays
  // what it was.
  Status take_role(discovery::Role role);
  // After leave_role(): is announced as before.
  void stay();

  // Ends waiting for another one's turn or a registry that is away; from any thread.
  void stop_waiting();
  // Says that it goes, and takes its keys away. Blocks, for a second at most.
  void leave();

 private:
  Status claim_turn(const std::string& key, Time until);
  Status check_others_answer(Time until) const;
  // Returns: the number of its name.
  Result<uint32_t> claim_number(discovery::Role role, Time until);
  Result<uint32_t> try_to_claim(discovery::Role role, Time until);
  void put(const discovery::WorkerInstance& self);
  void say_goodbye();
  // Returns: false if nobody is to wait any more.
  bool pause(Duration time);

  discovery::Registry* registry_;
  const std::string name_space_;
  std::unique_ptr<discovery::Lease> lease_;
  uint32_t number_ = 0;  // of its name
  mutable Mutex mutex_;
  std::condition_variable_any stopping_;
  bool is_stopping_ GUARDED_BY(mutex_) = false;
  discovery::WorkerInstance self_ GUARDED_BY(mutex_);
};

}  // namespace dynamo::worker
