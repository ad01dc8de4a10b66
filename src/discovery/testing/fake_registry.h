// A Registry over a map in this process, for tests of what uses one.
//
//   auto store = std::make_shared<FakeStore>();
//   FakeRegistry worker(store), frontend(store);   // two "processes" of one store
//   store->take_away();  ...  store->bring_back(); // an outage
//   store->expire_leases();                        // time passes, without waiting
//
// Wishes reach a store that is there before put() returns; callbacks run on one thread of the store. What blocks (list, write,
// claim, sync) waits for the store to be back until its deadline.
// Threads: any.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "discovery/key_view.h"
#include "discovery/registry.h"

namespace dynamo::discovery {

class FakeStore {
 public:
  FakeStore();
  ~FakeStore();  // Requires: its leases and watches are gone
  FakeStore(const FakeStore&) = delete;
  FakeStore& operator=(const FakeStore&) = delete;

  void take_away();
  void bring_back();

  // Ends the time to live of leases that nobody renews, with their keys: all while the store is away; else those that were
  // destroyed while it was.
  void expire_leases();

 private:
  friend class FakeRegistry;
  friend class FakeLease;
  friend class FakeWatch;

  struct Wish {
    std::optional<std::string> value;  // none: the key is to go
    bool is_stored = false;
  };
  struct LeaseState {
    uint64_t id = 0;  // 0: none; it is made when the store can be reached
    std::map<std::string, Wish> wishes;
  };
  struct Entry {
    std::string value;
    uint64_t lease = 0;  // 0: outlives its writer
  };
  struct WatchState {
    std::string prefix;
    OnChanges on_changes;
    KeyView view;
  };
  struct Delivery {
    std::shared_ptr<WatchState> watch;
    KeyView::Changes changes;
  };

  bool wait_for_store(Time until) REQUIRES(mutex_);
  KeyView::Keys list(const std::string& prefix) const REQUIRES(mutex_);
  void set_entry(const std::string& key, std::optional<std::string> value, uint64_t lease) REQUIRES(mutex_);
  void drop_entries_of(uint64_t lease) REQUIRES(mutex_);
  void agree(LeaseState& lease) REQUIRES(mutex_);  // makes the store hold the lease's wishes, if it is there
  void tell(const std::shared_ptr<WatchState>& watch) REQUIRES(mutex_);
  void tell_all() REQUIRES(mutex_);
  void deliver();  // the thread

  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  bool is_away_ GUARDED_BY(mutex_) = false;
  bool is_ending_ GUARDED_BY(mutex_) = false;
  uint64_t last_lease_ GUARDED_BY(mutex_) = 0;
  std::map<std::string, Entry> entries_ GUARDED_BY(mutex_);
  std::vector<LeaseState*> leases_ GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<WatchState>> watches_ GUARDED_BY(mutex_);
  std::deque<Delivery> due_ GUARDED_BY(mutex_);
  WatchState* running_ GUARDED_BY(mutex_) = nullptr;  // whose callback runs now
  std::thread thread_;
};

class FakeRegistry final : public Registry {
 public:
  explicit FakeRegistry(std::shared_ptr<FakeStore> store) : store_(std::move(store)) {}

  std::unique_ptr<Lease> lease(std::chrono::seconds time_to_live) override;
  std::unique_ptr<Watch> watch(std::string prefix, OnChanges on_changes) override;
  Result<std::map<std::string, std::string>> list(std::string prefix, Time until) override;
  Status write(std::string key, std::optional<std::string> value, Time until) override;
  bool is_connected() const override;

 private:
  std::shared_ptr<FakeStore> store_;
};

// What stands for a store's address in what a fake says went wrong.
inline constexpr const char* kFakeAddress = "fake-store:1";

}  // namespace dynamo::discovery
