// Who is alive and what they serve: etcd in a cluster, the hub on one machine, a map in tests.
//
// A small key-value store with leases and watches. What a process announces is a *wish*: it says once which keys it wants under
// its lease, and the registry makes the store agree, now or when the store is back, and again whenever the lease was lost. So a
// store that is away never stops anyone: watchers keep the last view they had, and go on from there when it returns.
// Keys and values: docs/reference/discovery.md.
// Threads: every method from any thread but the registry's own (callbacks); those marked "Blocks" not from an I/O thread either.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/status.h"

namespace dynamo::discovery {

// Keys that live as long as this does. Destroying it removes them: at once if the store answers (it waits at most two seconds
// for that), else when their time to live ends. It must not outlive its registry.
class Lease {
 public:
  virtual ~Lease() = default;

  // Wishes for the key with this value, in place of what this lease wished for it before. Returns at once.
  virtual void put(std::string key, std::string value) = 0;
  // Ends that wish. The key is removed only if this lease put it last.
  virtual void remove(std::string key) = 0;

  // Adds the key if nobody else has it. Returns: whether it is this lease's now; from then on it is a wish as with put(). Blocks until
  // `until`. Errors: kDeadline, kUnavailable (nothing is known about the key then, and nothing new is wished).
  virtual Result<bool> claim(std::string key, std::string value, Time until) = 0;

  // Blocks until the store holds every wish. Errors: kDeadline (names the store's address and what it last said).
  virtual Status sync(Time until) = 0;
};

// One change of a key. No value: the key is gone.
struct KeyChange {
  std::string key;
  std::optional<std::string> value;
  bool operator==(const KeyChange&) const = default;
};

// The first call carries every key there is (perhaps none); later ones the changes since, in the store's order: of what one process
// wishes in a row for one key perhaps only the last. A key written again
// with the same value is no change, and a view that was rebuilt after an outage is told as the difference to the last one.
// Runs on the registry's thread, one call at a time; must not block and must not call the registry.
using OnChanges = std::function<void(std::span<const KeyChange>)>;

// Ends the watch when destroyed: no callback runs after that. It must not outlive its registry.
class Watch {
 public:
  virtual ~Watch() = default;
};

class Registry {
 public:
  virtual ~Registry() = default;

  // A lease whose keys vanish from the store `time_to_live` after this process did. Requires: at least 2 s.
  virtual std::unique_ptr<Lease> lease(std::chrono::seconds time_to_live) = 0;

  virtual std::unique_ptr<Watch> watch(std::string prefix, OnChanges on_changes) = 0;

  // Keys under `prefix` now. Blocks. Errors: kDeadline, kUnavailable, kInvalid (the store refuses).
  virtual Result<std::map<std::string, std::string>> list(std::string prefix, Time until) = 0;

  // Writes a key that outlives this process (settings); no value removes it. Blocks.
  // Errors: as list(), kExhausted (the store is full).
  virtual Status write(std::string key, std::optional<std::string> value, Time until) = 0;

  // Whether the store answered when last asked; for metrics and /health, not for decisions.
  virtual bool is_connected() const = 0;
};

}  // namespace dynamo::discovery
