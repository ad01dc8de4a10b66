// Calls to etcd: one of several endpoints, with credentials and a deadline each.
// Threads: any at once.  Private to the module.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "discovery/etcd/etcd_api.grpc.pb.h"
#include "discovery/etcd/etcd_registry.h"

namespace dynamo::discovery {

class EtcdClient {
 public:
  using Call = std::function<grpc::Status(const std::shared_ptr<grpc::Channel>&, grpc::ClientContext*)>;

  // Errors: kInvalid (TLS files that cannot be read).
  static Result<std::unique_ptr<EtcdClient>> create(EtcdOptions options);

  // Runs `call` on the endpoint that answered last; on others, and after logging in again, when it fails for that. `call` gets a fresh
  // context with deadline and token each time. Errors: kUnavailable (nobody answered in time), kCorrupt (a certificate that is not to be
  // trusted), kInvalid (credentials, or what etcd says of the request), kNotFound (such as a lease).
  // Sets `may_come_late`, however it ends, if the request was given up at an endpoint that may still carry it out: one that stands still
  // does so when it goes on, after whatever was written meanwhile.
  Status call(Time until, const Call& call, bool* may_come_late = nullptr);

  // For streams: the endpoint to use now, and a context's credentials.
  std::shared_ptr<grpc::Channel> channel() const;
  void put_token(grpc::ClientContext* context) const;
  // The endpoint did not do: use the next one from now on.
  void give_up(const std::shared_ptr<grpc::Channel>& channel);
  // Logs in again before the next call.
  void forget_token();

  const std::string& addresses() const { return addresses_; }

 private:
  EtcdClient() = default;
  Status log_in(const std::shared_ptr<grpc::Channel>& channel, Time until);

  EtcdOptions options_;
  std::string addresses_;  // for people
  mutable Mutex mutex_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_ GUARDED_BY(mutex_);
  size_t current_ GUARDED_BY(mutex_) = 0;
  std::string token_ GUARDED_BY(mutex_);
};

}  // namespace dynamo::discovery
