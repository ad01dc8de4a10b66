// Any bytes from two clients: the hub acts or refuses, says the same whatever the cuts, and its queues stay within their bounds.
#include <algorithm>
#include <string>

#include "base/check.h"
#include "hub/hub_core.h"
#include "hub/hub_protocol.h"

namespace {

using namespace dynamo;
using namespace dynamo::hub;

// Sends `bytes` as one client in pieces. Returns: everything that the hub queued for it and for one who sees all.
std::string answers(std::string_view bytes, size_t piece) {
  HubCore core({.store_bytes = 4096, .queued_bytes = 65536}, /*incarnation=*/1);
  Peer* const observer = core.add([] {});
  Peer* const client = core.add([] {});
  observer->has_greeted = client->has_greeted = true;
  observer->watches.emplace(1, "");
  observer->subscriptions.emplace(1, ">");
  wire::FrameReader reader(65536);
  const Time start{};
  Status status;
  std::string out;
  for (size_t at = 0; at < bytes.size() && status.is_ok(); at += piece) {
    reader.push(std::as_bytes(std::span(bytes.substr(at, piece))));
    for (;;) {
      const auto frame = reader.next();
      status = frame.status();
      if (!frame.is_ok() || !*frame) break;
      status = core.receive(client, **frame, start);
      if (!status.is_ok()) break;
    }
  }
  core.tick(start + std::chrono::hours(25), Duration::zero());
  for (Peer* peer : {client, observer}) {
    for (auto frames = peer->queue.take(65536); !frames.empty(); frames = peer->queue.take(65536)) {
      for (const auto& frame : frames) out += *frame;
    }
  }
  core.remove(client);
  return out + status.to_string();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  CHECK(answers(bytes, std::max<size_t>(size, 1)) == answers(bytes, 1));
  return 0;
}
