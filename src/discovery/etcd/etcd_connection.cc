#include "discovery/etcd/etcd_connection.h"

#include "base/log.h"

namespace dynamo::discovery {

// One line per change.
void EtcdConnection::note(const Status& status) {
  const bool is_there = status.code() != Code::kUnavailable;
  if (is_connected_.exchange(is_there) == is_there) return;
  if (is_there) {
    LOG(info, "etcd is back", {"endpoints", addresses()});
  } else {
    LOG(warn, "etcd is away; what is known stands", {"endpoints", addresses()}, {"why", status.text()});
  }
}

Status EtcdConnection::call(Time until, const EtcdClient::Call& call, bool* may_come_late) {
  Status status = client_->call(until, call, may_come_late);
  is_distrusted_ = status.code() == Code::kCorrupt;
  if (is_distrusted_) status = unavailable(status.text());
  note(status);
  return status;
}

Result<std::pair<KeyView::Keys, int64_t>> EtcdConnection::list(const std::string& prefix, Time until) {
  etcdserverpb::RangeRequest request;
  set_range(prefix, &request);
  etcdserverpb::RangeResponse response;
  TRY_STATUS(call(until, [&](const auto& channel, auto* context) {
    return etcdserverpb::KV::NewStub(channel)->Range(context, request, &response);
  }));
  KeyView::Keys keys;
  for (const auto& pair : response.kvs()) keys[pair.key()] = pair.value();
  return std::pair(std::move(keys), response.header().revision());
}

}  // namespace dynamo::discovery
