#include "events/nats/nats_dialer.h"

#include <utility>

namespace dynamo::events {

Result<NatsDialer> NatsDialer::make(NatsOptions options) {
  NatsDialer dialer;
  for (const std::string& text : options.servers) {
    TRY(NatsServer server, parse_nats_server(text));
    dialer.servers_.push_back(std::move(server));
  }
  if (dialer.servers_.empty()) return invalid("no NATS server is named");
  dialer.options_ = std::move(options);
  return dialer;
}

Result<std::unique_ptr<NatsConnection>> NatsDialer::dial(std::chrono::milliseconds timeout,
                                                         const NatsConnection::OnClosed& on_closed) {
  Status failure;
  for (size_t tried = 0; tried < servers_.size(); ++tried) {
    if (std::exchange(has_dialled_, true)) current_ = (current_ + 1) % servers_.size();
    auto opened = NatsConnection::open(options_, servers_[current_], timeout, on_closed);
    if (opened.is_ok()) return opened;
    if (failure.code() != Code::kInvalid) failure = opened.status();
  }
  return failure;
}

std::string NatsDialer::servers() const {
  std::string list;
  for (const NatsServer& server : servers_) list += (list.empty() ? "" : ", ") + server.address();
  return list;
}

}  // namespace dynamo::events
