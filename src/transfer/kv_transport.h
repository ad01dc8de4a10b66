// Writes KV blocks from this process's pool into a peer's, and tells the peer when they are there.
//
// One object is one end: it registers one pool, gives out metadata that lets others write into it, and writes into the pools whose
// metadata it was given. Writes are one-sided: the peer's program takes no part until the notification comes. What lies where in a
// pool, and whether two pools agree, is the callers' business (transfer/pool_card.h); here are bytes and offsets only.
//
// Rules that every backend keeps (transfer/testing/conformance.h):
//   - a notification is received once, after all data of its put is in the peer's pool and visible to whoever polls there
//   - every put that was taken finishes exactly once, within `patience` of the last sign of life of its peer. Signs of life are given
//     and taken in poll() alone: an end that does not poll for that long may be given up; the time does not count against its peers
//   - puts to one peer may overtake each other; one that is slow does not hold up another peer's
//   - when a put has finished, its part of the local pool may be changed. Finished with ok: the peer has the data, or will have it
//     unless it or the way to it dies first, or has closed the permit. Finished otherwise: what of it was on its way may still land in
//     the peer's pool
//   - an end with permits takes data under an open permit alone; of a put under another one nothing lands, and it finishes with
//     kCancelled, or with ok as if it had landed. keeps_permits() says whether a backend can hold to this
//   - a peer that was unavailable is connected again by the next put to it
// Threads: one, the transfer thread, for everything but wake().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/memory.h"
#include "base/status.h"

namespace dynamo::transfer {

// A pool that the caller owns; it outlives every transport that registers it. Host memory with an fd can be mapped by
// processes of this host.
using PoolMemory = Memory;

// `bytes` bytes at `from` in the local pool go to `to` in the peer's. Offsets from the pools' starts.
struct Copy {
  uint64_t from = 0;
  uint64_t to = 0;
  uint64_t bytes = 0;
};

using PeerId = uint64_t;  // never 0, never used again
using PutId = uint64_t;   // never 0, never used again

// Lets a peer write into a pool, until the pool's owner closes it.
using PermitId = uint64_t;
inline constexpr PermitId kNoPermit = 0;

struct FinishedPut {
  PutId put = 0;
  Status status;  // kCancelled, kUnavailable (the peer went away or does not answer), kInternal
};

// What happened since the last poll.
struct Progress {
  std::vector<FinishedPut> finished;
  std::vector<std::string> notifications;  // from any peer, as sent
};

// Where libnixl_capi.so is, or is looked for: below each prefix, NIXL's own or a Python's with the wheel, then where the loader looks.
struct NixlLibrary {
  std::string file;                   // --nixl-lib; empty: looked for
  std::vector<std::string> prefixes;  // in order
};

class WritePermits;  // transfer/write_permits.h

// Connections of backend tcp to one peer: several where the network limits each, as clouds and bundled links do.
struct TcpConnections {
  size_t least = 1;  // opened by the first put; at least 1
  size_t most = 4;   // at least `least`; another is opened while data waits that none takes, but to peers on this host
  uint64_t part_bytes = 1U << 20;  // at least 1; what each takes at a time of a put of more than four parts
};

struct TransportOptions {
  PoolMemory pool;
  // Who may write into the pool; outlives the transport. Null: whoever has the metadata.
  WritePermits* permits = nullptr;
  std::string name;                // of this end, unique in the cluster: "decode-worker-2-1f…"
  std::string host = "127.0.0.1";  // address that peers reach this end by, a number
  std::string listen_host;         // address to listen on, a number; empty: `host`
  NixlLibrary nixl;
  TcpConnections tcp;
  Duration patience =
      std::chrono::seconds(5);  // a peer that gives no sign of life this long with puts in flight is gone
};

inline constexpr size_t kMostNotificationBytes = 1U << 20;
inline constexpr size_t kMostMetadataBytes = 1U << 20;

class KvTransport {
 public:
  // Requires: no put of another end writes into the pool any more, or the pool stays. Notifications that no poll has returned may be
  // lost, those of puts that finished with ok among them.
  virtual ~KvTransport() = default;

  virtual std::string_view backend() const = 0;  // "shm", "tcp", "nixl"
  virtual bool keeps_permits() const = 0;
  // What a peer needs to write here. At most kMostMetadataBytes.
  virtual const std::string& metadata() const = 0;

  // Makes a peer of another end's metadata; that it cannot be reached is told by the puts. Not blocking.
  // Errors: kCorrupt (not metadata of this backend, or of another version: both are named), kUnsupported (it cannot be reached by
  // this backend, as shm from another host; it is this end itself), kUnavailable.
  virtual Result<PeerId> add_peer(std::string_view metadata) = 0;
  // Puts to it that have not finished finish with kCancelled at the next poll, whatever is on its way. Unknown peers are ignored.
  virtual void drop_peer(PeerId peer) = 0;

  // Begins to copy, and to tell the peer `notification` after that. No copies: the notification alone. An empty notification is sent
  // too. `permit` is the peer's, for the copies. Errors: kInvalid (a range outside either pool, a notification above
  // kMostNotificationBytes, with the numbers), kNotFound (no such peer), kUnavailable (it cannot be reached now).
  virtual Result<PutId> put(PeerId peer, std::span<const Copy> copies, std::string notification,
                            PermitId permit = kNoPermit) = 0;
  // Stops as soon as it can, which may take `patience`; the put finishes with kCancelled, or with ok if it was through. Parts of it
  // may have been written. The notification is not received if it finishes with kCancelled.
  virtual void cancel(PutId put) = 0;

  // Drives everything, and waits until something has happened, until `until`, or until woken. Returns early with nothing at times.
  virtual Progress poll(Time until) = 0;
  // Ends a poll that waits, or makes the next one not wait. From any thread.
  virtual void wake() = 0;
};

// Errors: kUnsupported (the pool's memory kind, no memfd; nixl: the library lacks a function, which is named), kUnavailable (no address,
// device or backend of the library to use), kExhausted (file descriptors), kNotFound (nixl: lists where it looked), kInternal (nixl).
Result<std::unique_ptr<KvTransport>> make_shm_transport(TransportOptions options);
Result<std::unique_ptr<KvTransport>> make_tcp_transport(TransportOptions options);
Result<std::unique_ptr<KvTransport>> make_nixl_transport(TransportOptions options);

}  // namespace dynamo::transfer
