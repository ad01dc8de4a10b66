// An end with a pool of its own, as tests drive it.
// Threads: one.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "base/shared_memory.h"
#include "transfer/kv_transport.h"

namespace dynamo::transfer {

struct Backend {
  std::string name;
  std::function<Result<std::unique_ptr<KvTransport>>(TransportOptions)> make;
  std::function<Status()> is_there = [] { return Status(); };  // not ok: why it cannot be tested here

  friend std::ostream& operator<<(std::ostream& out, const Backend& backend) { return out << backend.name; }
};

// A transport, its pool, and what its polls said.
class End {
 public:
  // `permits`, if any, outlive it.
  End(const Backend& backend, size_t pool_bytes, const std::string& name, Duration patience = std::chrono::seconds(5),
      WritePermits* permits = nullptr);

  KvTransport& transport() { return *transport_; }
  std::byte* data() { return memory_.data(); }
  PeerId add(End& other);
  PutId put(PeerId peer, const std::vector<Copy>& copies, const std::string& notification, PermitId permit = kNoPermit);
  void poll(Time until);
  // Returns: how the put finished; kNotFound while it has not. A put that finishes twice is a CHECK failure.
  Status how(PutId put) const;
  bool has_finished(PutId put) const { return how(put).code() != Code::kNotFound; }

  std::vector<FinishedPut> finished;
  std::vector<std::string> notifications;

 private:
  SharedMemory memory_;
  std::unique_ptr<KvTransport> transport_;
};

// Polls the ends in turn until `condition`. Returns: whether it came in time.
bool drive(const std::vector<End*>& ends, const std::function<bool()>& condition);

// Writes bytes that follow from `seed`. The other: whether they are there.
void fill(std::byte* data, size_t bytes, uint64_t seed);
bool holds(const std::byte* data, size_t bytes, uint64_t seed);

}  // namespace dynamo::transfer
