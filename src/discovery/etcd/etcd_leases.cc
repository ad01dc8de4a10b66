#include "discovery/etcd/etcd_leases.h"

#include <algorithm>
#include <condition_variable>
#include <list>
#include <set>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/log.h"
#include "base/mutex.h"

namespace dynamo::discovery {
namespace {

constexpr Duration kFarewell = std::chrono::seconds(2);

bool is_away(const Status& status) {
  return status.code() == Code::kUnavailable;
}

// One lease's wishes, and what of them the store has. Guarded by the keeper's mutex.
struct LeaseState {
  std::chrono::seconds time_to_live;
  KeyView::Keys wishes;
  KeyView::Keys stored;            // under the present lease, for all we know
  std::set<std::string> removals;  // keys no longer wished that may be in the store
  int64_t id = 0;                  // 0: none granted
  // A write under it was given up and may still be carried out, after later ones. None is once the lease has ended, so another takes its place.
  bool is_doubtful = false;
  std::vector<int64_t> to_end;  // doubtful ones before it, whose late writes may still change our keys
  Time renew_at{};
  bool is_closing = false;
  bool is_closed = false;
  Status last;  // failure of the last attempt
  bool is_certain() const { return id != 0 && !is_doubtful && to_end.empty(); }
  bool is_synced() const { return is_certain() && wishes == stored && removals.empty(); }
  bool has(const std::string& key, const std::string& value) const {
    const auto found = stored.find(key);
    return is_certain() && found != stored.end() && found->second == value;
  }
};

}  // namespace

// Keeps all leases of a registry, on one thread.
class EtcdLeases::Keeper {
 public:
  explicit Keeper(std::shared_ptr<EtcdConnection> etcd) : etcd_(std::move(etcd)), thread_([this] { run(); }) {}
  ~Keeper() {
    {
      MutexLock lock(mutex_);
      is_ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  std::shared_ptr<LeaseState> add(std::chrono::seconds time_to_live) {
    auto state = std::make_shared<LeaseState>();
    state->time_to_live = time_to_live;
    MutexLock lock(mutex_);
    leases_.push_back(state);
    must_look_ = true;
    changed_.notify_all();
    return state;
  }

  void put(LeaseState* state, std::string key, std::string value) {
    MutexLock lock(mutex_);
    state->removals.erase(key);
    state->wishes[std::move(key)] = std::move(value);
    must_look_ = true;
    changed_.notify_all();
  }
  void remove(LeaseState* state, const std::string& key) {
    MutexLock lock(mutex_);
    if (state->wishes.erase(key) == 0) return;
    state->removals.insert(key);
    must_look_ = true;
    changed_.notify_all();
  }
  Result<bool> claim(LeaseState* state, const std::string& key, const std::string& value, Time until);
  Status sync(LeaseState* state, Time until) {
    MutexLock lock(mutex_);
    changed_.wait_until(mutex_, until, [&]() REQUIRES(mutex_) { return state->is_synced(); });
    if (state->is_synced()) return {};
    return deadline(fmt::format("etcd at {} has not taken what was announced: {}", etcd_->addresses(),
                                state->last.is_ok() ? "no answer yet" : state->last.text()));
  }
  void close(LeaseState* state) {
    MutexLock lock(mutex_);
    state->is_closing = true;
    must_look_ = true;
    changed_.notify_all();
    changed_.wait_until(mutex_, Clock::steady().now() + kFarewell, [&]() REQUIRES(mutex_) { return state->is_closed; });
    state->is_closed = true;  // the keeper lets it go; its time to live does the rest
  }

 private:
  void run();
  // Each is called without the lock, on the keeper's thread.
  Status tend(LeaseState* state);
  Status grant(LeaseState* state);
  Status renew(LeaseState* state, int64_t id);
  Status store(LeaseState* state);
  Status remove_stored(LeaseState* state, int64_t id, const std::string& key);
  Status end_replaced(LeaseState* state);
  Status revoke(int64_t id, Duration limit);
  void close_lease(LeaseState* state);
  // A write of this lease's; notes what may come of it late. On any thread.
  Status write(LeaseState* state, Time until, const EtcdClient::Call& call);
  // Whose the key is now, and its value. On any thread.
  struct Holder {
    int64_t lease = 0;
    std::string value;
  };
  Result<Holder> put_if_absent(LeaseState* state, int64_t lease, const std::string& key, const std::string& value,
                               Time until);

  std::shared_ptr<EtcdConnection> etcd_;
  Mutex mutex_;
  std::condition_variable_any changed_;
  std::list<std::shared_ptr<LeaseState>> leases_ GUARDED_BY(mutex_);
  bool must_look_ GUARDED_BY(mutex_) = false;
  bool is_ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// In place of the present lease, if there is one, which is to end when all keys are under this.
Status EtcdLeases::Keeper::grant(LeaseState* state) {
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(state->time_to_live.count());
  etcdserverpb::LeaseGrantResponse response;
  const Time asked = Clock::steady().now();
  TRY_STATUS(etcd_->call(asked + kEtcdCallTimeout, [&](const auto& channel, auto* context) {
    return etcdserverpb::Lease::NewStub(channel)->LeaseGrant(context, request, &response);
  }));
  MutexLock lock(mutex_);
  if (state->id != 0) state->to_end.push_back(state->id);
  state->id = response.id();
  state->is_doubtful = false;
  state->stored.clear();
  state->removals.clear();  // they went with the lease before
  state->renew_at = asked + state->time_to_live / 3;
  return {};
}

Status EtcdLeases::Keeper::renew(LeaseState* state, int64_t id) {
  etcdserverpb::LeaseKeepAliveResponse response;
  const Time asked = Clock::steady().now();
  TRY_STATUS(etcd_->call(asked + kEtcdCallTimeout, [&](const auto& channel, auto* context) {
    const auto stub = etcdserverpb::Lease::NewStub(channel);
    const auto stream = stub->LeaseKeepAlive(context);
    etcdserverpb::LeaseKeepAliveRequest request;
    request.set_id(id);
    const bool is_answered = stream->Write(request) && stream->Read(&response);
    stream->WritesDone();
    if (is_answered) {
      context->TryCancel();  // the answer is all that was wanted
      stream->Finish();
      return grpc::Status::OK;
    }
    const grpc::Status status = stream->Finish();
    return status.ok() ? grpc::Status(grpc::UNAVAILABLE, "the stream ended") : status;
  }));
  MutexLock lock(mutex_);
  if (response.ttl() <= 0) {
    LOG(warn, "a lease was lost; its keys are announced again", {"endpoints", etcd_->addresses()});
    state->id = 0;
    state->stored.clear();
    return {};
  }
  state->renew_at = asked + state->time_to_live / 3;
  return {};
}

Status EtcdLeases::Keeper::store(LeaseState* state) {
  int64_t id = 0;
  KeyView::Keys missing;
  std::set<std::string> removals;
  {
    MutexLock lock(mutex_);
    id = state->id;
    for (const auto& [key, value] : state->wishes) {
      const auto found = state->stored.find(key);
      if (found == state->stored.end() || found->second != value) missing[key] = value;
    }
    removals = state->removals;
  }
  if (id == 0) return unavailable("the lease was lost");
  for (const std::string& key : removals) TRY_STATUS(remove_stored(state, id, key));
  Status refused;  // a value that etcd does not take holds up no other
  for (const auto& [key, value] : missing) {
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(value);
    request.set_lease(id);
    etcdserverpb::PutResponse response;
    const Status status =
        write(state, Clock::steady().now() + kEtcdCallTimeout, [&](const auto& channel, auto* context) {
          return etcdserverpb::KV::NewStub(channel)->Put(context, request, &response);
        });
    MutexLock lock(mutex_);
    if (status.code() == Code::kNotFound) state->id = 0;  // the lease is gone
    if (status.code() == Code::kInvalid) {
      refused = status.with("writing " + key);
    } else if (!status.is_ok()) {
      return status;
    } else {
      state->stored[key] = value;
    }
  }
  return refused;
}

// Only if it is still this lease's: somebody may have put it after us.
Status EtcdLeases::Keeper::remove_stored(LeaseState* state, int64_t id, const std::string& key) {
  etcdserverpb::TxnRequest request;
  auto* compare = request.add_compare();
  compare->set_target(etcdserverpb::Compare::LEASE);
  compare->set_key(key);
  compare->set_lease(id);
  request.add_success()->mutable_request_delete_range()->set_key(key);
  etcdserverpb::TxnResponse response;
  TRY_STATUS(write(state, Clock::steady().now() + kEtcdCallTimeout, [&](const auto& channel, auto* context) {
    return etcdserverpb::KV::NewStub(channel)->Txn(context, request, &response);
  }));
  MutexLock lock(mutex_);
  state->removals.erase(key);
  state->stored.erase(key);
  return {};
}

Status EtcdLeases::Keeper::write(LeaseState* state, Time until, const EtcdClient::Call& call) {
  bool may_come_late = false;
  const Status status = etcd_->call(until, call, &may_come_late);
  MutexLock lock(mutex_);
  state->is_doubtful |= may_come_late;
  return status;
}

Status EtcdLeases::Keeper::revoke(int64_t id, Duration limit) {
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(id);
  etcdserverpb::LeaseRevokeResponse response;
  const Status status = etcd_->call(Clock::steady().now() + limit, [&](const auto& channel, auto* context) {
    return etcdserverpb::Lease::NewStub(channel)->LeaseRevoke(context, request, &response);
  });
  return status.code() == Code::kNotFound ? Status() : status;
}

void EtcdLeases::Keeper::close_lease(LeaseState* state) {
  std::vector<int64_t> ids;
  {
    MutexLock lock(mutex_);
    ids = state->to_end;
    if (state->id != 0) ids.push_back(state->id);
  }
  for (const int64_t id : ids) static_cast<void>(revoke(id, kFarewell));
}

// After this nothing is written late, and keys that were before it are as they should be.
Status EtcdLeases::Keeper::end_replaced(LeaseState* state) {
  std::vector<int64_t> ids;
  {
    MutexLock lock(mutex_);
    ids = state->to_end;
  }
  for (const int64_t id : ids) TRY_STATUS(revoke(id, kEtcdCallTimeout));
  {
    MutexLock lock(mutex_);
    state->to_end.clear();
    state->stored.clear();
  }
  return store(state);
}

Status EtcdLeases::Keeper::tend(LeaseState* state) {
  const auto ask = [&](auto what) {
    MutexLock lock(mutex_);
    return what();
  };
  const int64_t to_renew = ask([&] { return Clock::steady().now() >= state->renew_at ? state->id : 0; });
  if (to_renew != 0) TRY_STATUS(renew(state, to_renew));
  if (ask([&] { return state->id == 0; })) TRY_STATUS(grant(state));
  Status status = store(state);
  if (!is_away(status) && ask([&] { return state->is_doubtful && state->id != 0; })) {
    TRY_STATUS(grant(state));
    status = store(state);
  }
  if (!is_away(status) && ask([&] { return !state->to_end.empty(); })) status = end_replaced(state);
  MutexLock lock(mutex_);
  must_look_ |= state->is_doubtful;
  return status;
}

void EtcdLeases::Keeper::run() {
  for (;;) {
    std::list<std::shared_ptr<LeaseState>> leases;
    bool is_ending = false;
    {
      MutexLock lock(mutex_);
      must_look_ = false;
      leases = leases_;
      is_ending = is_ending_;
    }
    bool has_failed = false;
    bool is_etcd_away = false;
    for (const auto& lease : leases) {
      bool is_closing = false;
      {
        MutexLock lock(mutex_);
        is_closing = lease->is_closing || is_ending;
      }
      if (is_closing) {
        close_lease(lease.get());
        MutexLock lock(mutex_);
        lease->is_closed = true;
        leases_.remove(lease);
        continue;
      }
      const Status status = is_etcd_away ? unavailable("etcd did not answer") : tend(lease.get());
      has_failed |= !status.is_ok();
      is_etcd_away |= is_away(status);
      MutexLock lock(mutex_);
      lease->last = status;
    }
    changed_.notify_all();
    if (is_ending) return;
    MutexLock lock(mutex_);
    Time next = Time::max();
    for (const auto& lease : leases_) next = std::min(next, lease->id == 0 ? Clock::steady().now() : lease->renew_at);
    if (has_failed) next = Clock::steady().now() + kEtcdPause;
    // A failure is not tried again at once, whatever is wished meanwhile.
    const auto has_cause = [&]() REQUIRES(mutex_) { return is_ending_ || (must_look_ && !has_failed); };
    if (next == Time::max()) {
      changed_.wait(mutex_, has_cause);
    } else {
      changed_.wait_until(mutex_, next, has_cause);
    }
  }
}

Result<bool> EtcdLeases::Keeper::claim(LeaseState* state, const std::string& key, const std::string& value,
                                       Time until) {
  for (;;) {
    int64_t id = 0;
    {
      MutexLock lock(mutex_);
      changed_.wait_until(mutex_, until, [&]() REQUIRES(mutex_) { return state->id != 0; });
      id = state->id;
      if (id == 0) {
        return deadline(fmt::format("etcd at {} gave no lease in time: {}", etcd_->addresses(),
                                    state->last.is_ok() ? "no answer yet" : state->last.text()));
      }
    }
    const auto holder = put_if_absent(state, id, key, value, until);
    MutexLock lock(mutex_);
    if (holder.status().code() == Code::kNotFound) {  // the lease was lost; the keeper gets another
      if (state->id == id) state->id = 0;
      must_look_ = true;
      changed_.notify_all();
      continue;
    }
    if (!holder.is_ok()) {
      // It may have been put all the same: then it is removed, or made what else is wished for it.
      if (state->id == id) state->stored.erase(key);
      if (!state->wishes.contains(key)) state->removals.insert(key);
      must_look_ = true;
      changed_.notify_all();
      return holder.status();
    }
    const bool is_ours =
        holder->lease == id || holder->lease == state->id || std::ranges::count(state->to_end, holder->lease) > 0;
    if (!is_ours) return false;
    state->removals.erase(key);
    state->wishes[key] = value;
    if (holder->lease == state->id) state->stored[key] = holder->value;
    if (state->has(key, value)) return true;
    must_look_ = true;  // it was ours before, with another value, or its lease is replaced
    changed_.notify_all();
    changed_.wait_until(mutex_, until, [&]() REQUIRES(mutex_) { return state->has(key, value); });
    return true;
  }
}

Result<EtcdLeases::Keeper::Holder> EtcdLeases::Keeper::put_if_absent(LeaseState* state, int64_t lease,
                                                                     const std::string& key, const std::string& value,
                                                                     Time until) {
  etcdserverpb::TxnRequest request;
  auto* compare = request.add_compare();
  compare->set_target(etcdserverpb::Compare::CREATE);
  compare->set_key(key);
  compare->set_create_revision(0);
  auto* put = request.add_success()->mutable_request_put();
  put->set_key(key);
  put->set_value(value);
  put->set_lease(lease);
  request.add_failure()->mutable_request_range()->set_key(key);
  etcdserverpb::TxnResponse response;
  TRY_STATUS(write(state, until, [&](const auto& channel, auto* context) {
    return etcdserverpb::KV::NewStub(channel)->Txn(context, request, &response);
  }));
  if (response.succeeded()) return Holder{lease, value};
  if (response.responses().empty() || response.responses(0).response_range().kvs().empty())
    return unavailable(fmt::format("etcd at {} did not say who has {}", etcd_->addresses(), key));
  // There: perhaps from our own first try, whose answer was lost.
  const auto& found = response.responses(0).response_range().kvs(0);
  return Holder{found.lease(), found.value()};
}

namespace {

class EtcdLease final : public Lease {
 public:
  EtcdLease(EtcdLeases::Keeper* keeper, std::chrono::seconds time_to_live)
      : keeper_(keeper), state_(keeper->add(time_to_live)) {}
  ~EtcdLease() override { keeper_->close(state_.get()); }
  void put(std::string key, std::string value) override {
    keeper_->put(state_.get(), std::move(key), std::move(value));
  }
  void remove(std::string key) override { keeper_->remove(state_.get(), key); }
  Result<bool> claim(std::string key, std::string value, Time until) override {
    return keeper_->claim(state_.get(), key, value, until);
  }
  Status sync(Time until) override { return keeper_->sync(state_.get(), until); }

 private:
  EtcdLeases::Keeper* keeper_;
  std::shared_ptr<LeaseState> state_;
};

}  // namespace

EtcdLeases::EtcdLeases(std::shared_ptr<EtcdConnection> etcd) : keeper_(std::make_unique<Keeper>(std::move(etcd))) {}
EtcdLeases::~EtcdLeases() = default;
std::unique_ptr<Lease> EtcdLeases::add(std::chrono::seconds time_to_live) {
  return std::make_unique<EtcdLease>(keeper_.get(), time_to_live);
}

}  // namespace dynamo::discovery
