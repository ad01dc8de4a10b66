// A peer of backend "tcp": the connections over which this end puts into its pool, opened as they are needed.
//
// The first put opens as many as TcpConnections::least says. Another is opened when all of them are blocked and enough data for a large
// put still waits, but not to a peer on this host: there one is bound by the processors. What lies on which: transfer/tcp_lanes.h.
//
// A connection on which nothing of a put is may end without harm. One that ends with something of a put on it, or on which the peer
// acknowledges nothing, answers no ping and makes no room in a full socket for `patience`, ends the peer: all its connections are
// closed, and all its puts finish with kUnavailable. The next put connects again.
// Threads: one.  Private to the module.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "transfer/end_metadata.h"
#include "transfer/event_poll.h"
#include "transfer/kv_transport.h"
#include "transfer/tcp_lanes.h"
#include "transfer/tcp_outgoing.h"
#include "transfer/tcp_socket.h"

namespace dynamo::transfer {

class TcpPeer;

// What the peers of one end share with it.
struct TcpLoop {
  const TransportOptions options;
  const std::unique_ptr<EventPoll> events;
  uint64_t next_id;                           // of peers, and tokens of connections: never used again
  std::map<uint64_t, TcpPeer*> peer_of = {};  // by the tokens of their connections
  Progress progress = {};                     // since the last poll
};

class TcpPeer {
 public:
  // `loop` outlives it.
  TcpPeer(PeerId id, TcpMetadata metadata, SocketAddress address, TcpLoop* loop)
      : id_(id), metadata_(std::move(metadata)), address_(std::move(address)), loop_(loop) {}
  // Puts that have not finished never do.
  ~TcpPeer() { disconnect(); }
  TcpPeer(const TcpPeer&) = delete;
  TcpPeer& operator=(const TcpPeer&) = delete;

  // Errors: kInvalid.
  Status put(PutId put, std::span<const Copy> copies, std::string notification, PermitId permit);
  // Returns: whether it was this peer's, and not through.
  bool cancel(PutId put);
  // All puts finish with kCancelled, all connections are closed.
  void drop();

  bool has_puts() const { return lanes_.has_puts(); }
  // Sends what the connections take, up to a slice. Returns: whether there is more to send at once.
  bool send();
  void on_event(uint64_t token, uint32_t events);
  // Returns: when it has to be looked at again.
  Time check_patience(Time now);
  // Nobody has polled for a while: it could give no sign of life.
  void forgive(Time now);

 private:
  struct Connection {
    TcpOutgoing outgoing;
    Fd socket;
    bool is_connecting = true;
    bool is_blocked = false;  // the socket takes no more
    bool is_watched = true;   // for when it takes more
    Time last_life;
    Time last_ping;
  };

  void open_first();
  Status open_one();
  bool wants_another() const;
  Result<size_t> send_batch(Connection* connection);
  void watch_blocked();
  Status receive_replies(Connection* connection);
  // A connection is gone.
  void lose(uint64_t token, const Status& why);
  void fail(const Status& why);
  void close(uint64_t token);
  void disconnect();

  const PeerId id_;
  const TcpMetadata metadata_;
  const SocketAddress address_;
  TcpLoop* const loop_;
  TcpLanes lanes_{loop_->options.tcp.part_bytes};
  std::map<uint64_t, Connection> connections_;  // by token
  size_t most_ = loop_->options.tcp.most;       // connections; less when no more could be opened
  bool is_on_this_host_ = false;
};

}  // namespace dynamo::transfer
