#include "transfer/testing/end.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/testing/patience.h"

namespace dynamo::transfer {

End::End(const Backend& backend, size_t pool_bytes, const std::string& name, Duration patience, WritePermits* permits) {
  auto memory = SharedMemory::create(pool_bytes);
  CHECK_OK(memory);
  memory_ = std::move(*memory);
  TransportOptions options;
  options.pool = memory_.memory();
  options.name = name;
  options.patience = patience;
  options.permits = permits;
  auto transport = backend.make(options);
  CHECK_OK(transport);
  transport_ = std::move(*transport);
}

PeerId End::add(End& other) {
  auto peer = transport_->add_peer(other.transport_->metadata());
  CHECK_OK(peer);
  return *peer;
}

PutId End::put(PeerId peer, const std::vector<Copy>& copies, const std::string& notification, PermitId permit) {
  auto put = transport_->put(peer, copies, notification, permit);
  CHECK_OK(put);
  return *put;
}

void End::poll(Time until) {
  Progress progress = transport_->poll(until);
  for (FinishedPut& put : progress.finished) {
    CHECK(!has_finished(put.put));
    finished.push_back(std::move(put));
  }
  std::ranges::move(progress.notifications, std::back_inserter(notifications));
}

Status End::how(PutId put) const {
  const auto found = std::ranges::find(finished, put, &FinishedPut::put);
  return found == finished.end() ? not_found("not finished") : found->status;
}

bool drive(const std::vector<End*>& ends, const std::function<bool()>& condition) {
  const Time until = soon();
  while (!condition()) {
    if (Clock::steady().now() > until) return false;
    for (End* end : ends)
      end->poll(Clock::steady().now() +
                (ends.size() == 1 ? std::chrono::milliseconds(10) : std::chrono::milliseconds(0)));
  }
  return true;
}

void fill(std::byte* data, size_t bytes, uint64_t seed) {
  for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
    const uint64_t word = XXH3_64bits_withSeed(&at, sizeof(at), seed);
    std::memcpy(data + at, &word, std::min(sizeof(word), bytes - at));
  }
}

bool holds(const std::byte* data, size_t bytes, uint64_t seed) {
  for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
    const uint64_t word = XXH3_64bits_withSeed(&at, sizeof(at), seed);
    if (std::memcmp(data + at, &word, std::min(sizeof(word), bytes - at)) != 0) return false;
  }
  return true;
}

}  // namespace dynamo::transfer
