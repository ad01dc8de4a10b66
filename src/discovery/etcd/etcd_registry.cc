#include "discovery/etcd/etcd_registry.h"

#include <condition_variable>
#include <thread>

#include <fmt/format.h>

#include "base/log.h"
#include "base/mutex.h"
#include "discovery/etcd/etcd_leases.h"
#include "discovery/keys.h"

namespace dynamo::discovery {
namespace {

class EtcdWatch final : public Watch {
 public:
  EtcdWatch(std::shared_ptr<EtcdConnection> etcd, std::string prefix, OnChanges on_changes)
      : etcd_(std::move(etcd)),
        prefix_(std::move(prefix)),
        on_changes_(std::move(on_changes)),
        thread_([this] { run(); }) {}
  ~EtcdWatch() override {
    {
      MutexLock lock(mutex_);
      is_ending_ = true;
      if (context_) context_->TryCancel();
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  void run() {
    for (;;) {
      const auto listed = etcd_->list(prefix_, Clock::steady().now() + kEtcdCallTimeout);
      if (listed.is_ok()) {
        if (const auto changes = view_.replace(listed->first)) on_changes_(*changes);
        follow(listed->second + 1);
      }
      MutexLock lock(mutex_);
      changed_.wait_until(mutex_, Clock::steady().now() + kEtcdPause, [&]() REQUIRES(mutex_) { return is_ending_; });
      if (is_ending_) return;
    }
  }

  // Tells changes from `revision` on until the stream ends.
  void follow(int64_t revision) {
    const auto channel = etcd_->client().channel();
    const auto stub = etcdserverpb::Watch::NewStub(channel);
    grpc::ClientContext context;
    etcd_->client().put_token(&context);
    context.AddMetadata("hasleader", "true");  // ends when this member has lost the others
    {
      MutexLock lock(mutex_);
      if (is_ending_) return;
      context_ = &context;
    }
    const auto stream = stub->Watch(&context);
    etcdserverpb::WatchRequest request;
    set_range(prefix_, request.mutable_create_request());
    request.mutable_create_request()->set_start_revision(revision);
    etcdserverpb::WatchResponse response;
    bool is_open = stream->Write(request);
    while (is_open && stream->Read(&response) && !response.canceled()) {
      std::vector<KeyChange> changes;
      for (const auto& event : response.events()) {
        KeyChange change{event.kv().key(), std::nullopt};
        if (event.type() == etcdserverpb::Event::PUT) change.value = event.kv().value();
        if (view_.apply(change)) changes.push_back(std::move(change));
      }
      if (!changes.empty()) on_changes_(changes);
    }
    context.TryCancel();
    const grpc::Status status = stream->Finish();
    {
      MutexLock lock(mutex_);
      context_ = nullptr;
    }
    if (response.canceled()) etcd_->client().forget_token();
    if (status.error_code() == grpc::UNAVAILABLE) etcd_->client().give_up(channel);
  }

  std::shared_ptr<EtcdConnection> etcd_;
  const std::string prefix_;
  const OnChanges on_changes_;
  KeyView view_;  // the thread's
  Mutex mutex_;
  std::condition_variable_any changed_;
  grpc::ClientContext* context_ GUARDED_BY(mutex_) = nullptr;
  bool is_ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

class ConnectedRegistry final : public EtcdRegistry {
 public:
  explicit ConnectedRegistry(std::shared_ptr<EtcdConnection> etcd) : etcd_(std::move(etcd)), leases_(etcd_) {}

  std::unique_ptr<Lease> lease(std::chrono::seconds time_to_live) override { return leases_.add(time_to_live); }
  std::unique_ptr<Watch> watch(std::string prefix, OnChanges on_changes) override {
    return std::make_unique<EtcdWatch>(etcd_, std::move(prefix), std::move(on_changes));
  }
  Result<std::map<std::string, std::string>> list(std::string prefix, Time until) override {
    TRY(auto listed, etcd_->list(prefix, until));
    return std::move(listed.first);
  }
  // Only over what was there when it was called, so that it is not carried out late (EtcdClient::call()) over a later one; over a later
  // removal it may be.
  Status write(std::string key, std::optional<std::string> value, Time until) override {
    for (;;) {
      etcdserverpb::RangeRequest ask;
      ask.set_key(key);
      etcdserverpb::RangeResponse found;
      TRY_STATUS(etcd_->call(until, [&](const auto& channel, auto* context) {
        return etcdserverpb::KV::NewStub(channel)->Range(context, ask, &found);
      }));
      etcdserverpb::TxnRequest request;
      auto* compare = request.add_compare();
      compare->set_target(etcdserverpb::Compare::MOD);
      compare->set_key(key);
      compare->set_mod_revision(found.kvs().empty() ? 0 : found.kvs(0).mod_revision());
      auto* change = request.add_success();
      if (value) {
        change->mutable_request_put()->set_key(key);
        change->mutable_request_put()->set_value(*value);
      } else {
        change->mutable_request_delete_range()->set_key(key);
      }
      etcdserverpb::TxnResponse response;
      TRY_STATUS(etcd_->call(until, [&](const auto& channel, auto* context) {
        return etcdserverpb::KV::NewStub(channel)->Txn(context, request, &response);
      }));
      if (response.succeeded()) return {};
      // Changed meanwhile: by another, or by our own try whose answer was lost. Either way this comes after it.
      if (Clock::steady().now() >= until)
        return deadline(fmt::format("etcd at {}: {} changes all the time", etcd_->addresses(), key));
    }
  }
  bool is_connected() const override { return etcd_->is_connected(); }

 private:
  std::shared_ptr<EtcdConnection> etcd_;
  EtcdLeases leases_;
};

}  // namespace

Result<std::unique_ptr<EtcdRegistry>> EtcdRegistry::connect(EtcdOptions options, Time until) {
  TRY(auto client, EtcdClient::create(std::move(options)));
  auto etcd = std::make_shared<EtcdConnection>(std::move(client));
  for (bool has_told = false;;) {
    const auto listed = etcd->list(std::string(kKeysPrefix), std::min(until, Clock::steady().now() + kEtcdCallTimeout));
    if (listed.is_ok()) return std::unique_ptr<EtcdRegistry>(std::make_unique<ConnectedRegistry>(std::move(etcd)));
    if (listed.status().code() == Code::kInvalid) return listed.status();
    if (etcd->is_distrusted()) return invalid(listed.status().text() + " (ETCD_AUTH_CA says whom to trust)");
    if (!std::exchange(has_told, true))
      LOG(info, "waiting for etcd", {"endpoints", etcd->addresses()}, {"why", listed.status().text()});
    if (Clock::steady().now() + kEtcdPause >= until) {
      return unavailable(
          fmt::format("{}; is it running there? ETCD_ENDPOINTS says where to look, ETCD_AUTH_CLIENT_CERT what to show",
                      listed.status().text()));
    }
    std::this_thread::sleep_for(kEtcdPause);
  }
}

}  // namespace dynamo::discovery
