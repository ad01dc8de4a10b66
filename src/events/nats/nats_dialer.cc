#include "events/nats/nats_dialer.h"

#include <algorithm>
#include <utility>

namespace dynamo::events {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause(50);
constexpr milliseconds kLongestPause(1000);

}  // namespace

NatsDialer::NatsDialer() : longest_pause_(kFirstPause) {}

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

Result<std::unique_ptr<NatsConnection>> NatsDialer::dial(milliseconds timeout,
                                                         const NatsConnection::OnClosed& on_closed) {
  Status failure;
  for (size_t tried = 0; tried < servers_.size(); ++tried) {
    if (std::exchange(has_dialled_, true)) current_ = (current_ + 1) % servers_.size();
    auto opened = NatsConnection::open(options_, servers_[current_], timeout, on_closed);
    if (opened.is_ok()) {
      connected_since_ = std::chrono::steady_clock::now();
      return opened;
    }
    if (failure.code() != Code::kInvalid) failure = opened.status();
  }
  return failure;
}

Duration NatsDialer::pause() {
  const std::optional<Time> since = std::exchange(connected_since_, std::nullopt);
  if (since.has_value() && std::chrono::steady_clock::now() - *since > kLongestPause) {
    longest_pause_ = kFirstPause;
    return Duration::zero();
  }
  const milliseconds longest = std::exchange(longest_pause_, std::min(kLongestPause, 2 * longest_pause_));
  return milliseconds(std::uniform_int_distribution<int64_t>(longest.count() / 2, longest.count())(random_));
}

std::string NatsDialer::servers() const {
  std::string list;
  for (const NatsServer& server : servers_) list += (list.empty() ? "" : ", ") + server.address();
  return list;
}

}  // namespace dynamo::events
