#include "discovery/testing/fake_registry.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo::discovery {
namespace {

std::string away_text() {
  return fmt::format("the store at {} is away", kFakeAddress);
}

}  // namespace

FakeStore::FakeStore() : thread_([this] { deliver(); }) {}

FakeStore::~FakeStore() {
  {
    MutexLock lock(mutex_);
    CHECK(leases_.empty() && watches_.empty());
    is_ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void FakeStore::take_away() {
  MutexLock lock(mutex_);
  is_away_ = true;
}

void FakeStore::bring_back() {
  MutexLock lock(mutex_);
  is_away_ = false;
  for (LeaseState* lease : leases_) agree(*lease);
  tell_all();
  changed_.notify_all();
}

void FakeStore::expire_leases() {
  MutexLock lock(mutex_);
  if (is_away_) {
    for (LeaseState* lease : leases_) lease->id = 0;
  }
  std::erase_if(entries_, [&](const auto& item) REQUIRES(mutex_) {
    const uint64_t id = item.second.lease;
    return id != 0 && std::ranges::none_of(leases_, [&](const LeaseState* lease) { return lease->id == id; });
  });
  tell_all();
}

bool FakeStore::wait_for_store(Time until) {
  return changed_.wait_until(mutex_, until, [this]() REQUIRES(mutex_) { return !is_away_; });
}

KeyView::Keys FakeStore::list(const std::string& prefix) const {
  KeyView::Keys found;
  for (const auto& [key, entry] : entries_) {
    if (key.starts_with(prefix)) found[key] = entry.value;
  }
  return found;
}

void FakeStore::set_entry(const std::string& key, std::optional<std::string> value, uint64_t lease) {
  if (value) {
    entries_[key] = {std::move(*value), lease};
  } else {
    entries_.erase(key);
  }
  tell_all();
}

void FakeStore::drop_entries_of(uint64_t lease) {
  std::erase_if(entries_, [&](const auto& item) { return item.second.lease == lease; });
  tell_all();
}

void FakeStore::agree(LeaseState& lease) {
  if (is_away_) return;
  if (lease.id == 0) {
    lease.id = ++last_lease_;
    for (auto& [key, wish] : lease.wishes) wish.is_stored = false;
  }
  for (auto& [key, wish] : lease.wishes) {
    if (std::exchange(wish.is_stored, true)) continue;
    const auto entry = entries_.find(key);
    if (wish.value || (entry != entries_.end() && entry->second.lease == lease.id))
      set_entry(key, wish.value, lease.id);
  }
  std::erase_if(lease.wishes, [](const auto& item) { return !item.second.value; });
  changed_.notify_all();
}

void FakeStore::tell(const std::shared_ptr<WatchState>& watch) {
  if (is_away_) return;
  auto changes = watch->view.replace(list(watch->prefix));
  if (!changes) return;
  due_.push_back({watch, std::move(*changes)});
  changed_.notify_all();
}

void FakeStore::tell_all() {
  for (const auto& watch : watches_) tell(watch);
}

void FakeStore::deliver() {
  mutex_.lock();
  for (;;) {
    while (due_.empty() && !is_ending_) changed_.wait(mutex_);
    if (due_.empty()) break;
    const Delivery delivery = std::move(due_.front());
    due_.pop_front();
    running_ = delivery.watch.get();
    mutex_.unlock();
    delivery.watch->on_changes(delivery.changes);
    mutex_.lock();
    running_ = nullptr;
    changed_.notify_all();
  }
  mutex_.unlock();
}

class FakeLease final : public Lease {
 public:
  explicit FakeLease(std::shared_ptr<FakeStore> store) : store_(std::move(store)) {
    MutexLock lock(store_->mutex_);
    store_->leases_.push_back(&state_);
    store_->agree(state_);
  }

  ~FakeLease() override {
    MutexLock lock(store_->mutex_);
    std::erase(store_->leases_, &state_);
    if (!store_->is_away_) store_->drop_entries_of(state_.id);
  }

  void put(std::string key, std::string value) override { wish(std::move(key), std::move(value)); }
  void remove(std::string key) override { wish(std::move(key), std::nullopt); }

  Result<bool> claim(std::string key, std::string value, Time until) override {
    MutexLock lock(store_->mutex_);
    if (!store_->wait_for_store(until)) return unavailable(away_text());
    const auto entry = store_->entries_.find(key);
    if (entry != store_->entries_.end() && entry->second.lease != state_.id) return false;
    state_.wishes[key] = {std::move(value)};
    store_->agree(state_);
    return true;
  }

  Status sync(Time until) override {
    MutexLock lock(store_->mutex_);
    return store_->wait_for_store(until) ? Status() : deadline(away_text());
  }

 private:
  void wish(std::string key, std::optional<std::string> value) {
    MutexLock lock(store_->mutex_);
    state_.wishes[std::move(key)] = {std::move(value)};
    store_->agree(state_);
  }

  std::shared_ptr<FakeStore> store_;
  FakeStore::LeaseState state_;  // guarded by store_->mutex_
};

class FakeWatch final : public Watch {
 public:
  FakeWatch(std::shared_ptr<FakeStore> store, std::string prefix, OnChanges on_changes)
      : store_(std::move(store)), state_(std::make_shared<FakeStore::WatchState>()) {
    state_->prefix = std::move(prefix);
    state_->on_changes = std::move(on_changes);
    MutexLock lock(store_->mutex_);
    store_->watches_.push_back(state_);
    store_->tell(state_);
  }

  ~FakeWatch() override {
    MutexLock lock(store_->mutex_);
    std::erase(store_->watches_, state_);
    std::erase_if(store_->due_, [&](const FakeStore::Delivery& delivery) { return delivery.watch == state_; });
    while (store_->running_ == state_.get()) store_->changed_.wait(store_->mutex_);
  }

 private:
  std::shared_ptr<FakeStore> store_;
  std::shared_ptr<FakeStore::WatchState> state_;
};

std::unique_ptr<Lease> FakeRegistry::lease(std::chrono::seconds time_to_live) {
  CHECK(time_to_live >= std::chrono::seconds(2));
  return std::make_unique<FakeLease>(store_);
}

std::unique_ptr<Watch> FakeRegistry::watch(std::string prefix, OnChanges on_changes) {
  return std::make_unique<FakeWatch>(store_, std::move(prefix), std::move(on_changes));
}

Result<std::map<std::string, std::string>> FakeRegistry::list(std::string prefix, Time until) {
  MutexLock lock(store_->mutex_);
  if (!store_->wait_for_store(until)) return unavailable(away_text());
  return store_->list(prefix);
}

Status FakeRegistry::write(std::string key, std::optional<std::string> value, Time until) {
  MutexLock lock(store_->mutex_);
  if (!store_->wait_for_store(until)) return unavailable(away_text());
  store_->set_entry(key, std::move(value), /*lease=*/0);
  return {};
}

bool FakeRegistry::is_connected() const {
  MutexLock lock(store_->mutex_);
  return !store_->is_away_;
}

}  // namespace dynamo::discovery
