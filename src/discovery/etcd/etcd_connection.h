// How a registry stands with etcd: its client, and what the last call said. It outlives every lease and watch.
// Threads: any at once.  Private to the module.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "discovery/etcd/etcd_client.h"
#include "discovery/key_view.h"

namespace dynamo::discovery {

constexpr Duration kEtcdCallTimeout = std::chrono::seconds(4);
constexpr Duration kEtcdPause = std::chrono::milliseconds(300);  // after a failure

// Makes the request for all keys that begin with `prefix`. In etcd no key is empty, and an end of "\0" means none.
template <class RequestOfRange>
void set_range(const std::string& prefix, RequestOfRange* request) {
  std::string end = prefix;
  while (!end.empty() && end.back() == '\xFF') end.pop_back();
  if (!end.empty()) ++end.back();
  request->set_key(prefix.empty() ? std::string(1, '\0') : prefix);
  request->set_range_end(end.empty() ? std::string(1, '\0') : end);
}

class EtcdConnection {
 public:
  explicit EtcdConnection(std::unique_ptr<EtcdClient> client) : client_(std::move(client)) {}

  // As EtcdClient::call(), but for a certificate that is not to be trusted: kUnavailable, and is_distrusted().
  Status call(Time until, const EtcdClient::Call& call, bool* may_come_late = nullptr);
  // All keys that begin with `prefix`, and the store's revision that they are of. Errors: as call().
  Result<std::pair<KeyView::Keys, int64_t>> list(const std::string& prefix, Time until);

  EtcdClient& client() { return *client_; }
  const std::string& addresses() const { return client_->addresses(); }
  bool is_connected() const { return is_connected_; }    // nobody was missing at the last call
  bool is_distrusted() const { return is_distrusted_; }  // etcd's certificate, at the last call

 private:
  void note(const Status& status);

  const std::unique_ptr<EtcdClient> client_;
  std::atomic<bool> is_connected_{true};
  std::atomic<bool> is_distrusted_{false};
};

}  // namespace dynamo::discovery
