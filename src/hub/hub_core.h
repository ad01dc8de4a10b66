// The hub without its sockets: takes clients' frames, keeps the keys, and queues what each client is to be sent.
//
// Threads: one. Format: hub.proto, docs/reference/hub.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "hub/hub.pb.h"
#include "hub/key_store.h"
#include "hub/peer_queue.h"
#include "wire/frame.h"

namespace dynamo::hub {

struct HubLimits {
  size_t store_bytes = 32U << 20;   // all keys and values; a view of them must fit into a frame
  size_t queued_bytes = 64U << 20;  // of events, and of all else, that wait for one client
};

// One connected client.
struct Peer {
  Peer(HolderId id, size_t queued_bytes, std::function<void()> wake)
      : id(id), queue(queued_bytes), wake(std::move(wake)) {}

  HolderId id;
  PeerQueue queue;
  std::function<void()> wake;  // called when the queue got something
  bool has_greeted = false;
  std::map<uint64_t, std::string> watches;        // prefixes
  std::map<uint64_t, std::string> subscriptions;  // patterns
};

class HubCore {
 public:
  HubCore(HubLimits limits, uint64_t incarnation);

  // A client has connected. `wake` must not call the core. Returns: valid until remove().
  Peer* add(std::function<void()> wake);
  // Its connection is gone; its leases go on until their deadlines.
  void remove(Peer* peer);

  // Acts on one frame. Errors: kCorrupt, kInvalid, kUnsupported (another version): the client is to be told and cut off.
  Status receive(Peer* peer, const wire::Frame& frame, Time now);

  // `peer` was heard at `when`.
  void renew(const Peer& peer, Time when) { store_.renew(peer.id, when); }
  // Ends leases whose time is over. `stood_still`: time in which the hub did not run and heard nobody.
  void tick(Time now, Duration stood_still);

 private:
  Status greet(Peer* peer, const wire::Frame& frame);
  Status handle(Peer* peer, const message::Request& request, Time now);
  Status handle_interest(Peer* peer, const message::Request& request);
  message::Answer act_on_keys(const Peer& peer, const message::Request& request, Time now);
  void publish(const message::Event& event);
  void send_view(Peer* peer, uint64_t watch, const std::string& prefix);
  void tell_change(const std::string& key, const std::string* value);

  HubLimits limits_;
  uint64_t incarnation_;
  HolderId last_peer_ = 0;
  std::map<HolderId, std::unique_ptr<Peer>> peers_;
  KeyStore store_;
};

}  // namespace dynamo::hub
