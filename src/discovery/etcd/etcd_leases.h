// The leases of a registry in etcd: what is wished for under each is made true, and true again after any failure.
// Threads: any at once; what waits for etcd is done on a thread of their own, but Lease::claim().
// Private to the module.
#pragma once

#include <memory>

#include "discovery/etcd/etcd_connection.h"
#include "discovery/registry.h"

namespace dynamo::discovery {

class EtcdLeases {
 public:
  explicit EtcdLeases(std::shared_ptr<EtcdConnection> etcd);
  // Ends what leases there are at etcd. Requires: nobody uses one.
  ~EtcdLeases();

  std::unique_ptr<Lease> add(std::chrono::seconds time_to_live);

  class Keeper;

 private:
  std::unique_ptr<Keeper> keeper_;
};

}  // namespace dynamo::discovery
