// Any bytes from outside: metadata and pool cards give values or a reason; what comes on a connection, cut anywhere, gives the same
// notifications, replies, pool and reason whatever the cuts, and nothing outside the pool.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "base/check.h"
#include "transfer/end_metadata.h"
#include "transfer/pool_card.h"
#include "transfer/tcp_incoming.h"
#include "transfer/tcp_outgoing.h"

namespace {

using namespace dynamo;
using namespace dynamo::transfer;

struct Seen {
  std::vector<std::string> notifications;
  std::string replies;
  std::string why;
  std::vector<std::byte> pool = std::vector<std::byte>(3000);
  bool operator==(const Seen&) const = default;
};

Seen receive(std::string_view bytes, size_t piece) {
  Seen seen;
  PermitWriter writer;
  TcpIncoming incoming(hello_of(std::string(kSecretBytes, 's')), seen.pool, &writer);
  while (!bytes.empty()) {
    iovec parts[TcpIncoming::kMostParts];
    const size_t count = incoming.next_parts(parts);
    size_t left = std::min(piece, bytes.size());
    size_t taken = 0;
    for (size_t at = 0; at < count && left > 0; ++at) {
      const size_t part = std::min(left, parts[at].iov_len);
      std::memcpy(parts[at].iov_base, bytes.data() + taken, part);
      taken += part;
      left -= part;
    }
    CHECK(taken > 0);
    bytes.remove_prefix(taken);
    const Status status = incoming.received(taken, &seen.notifications, &seen.replies);
    if (!status.is_ok()) {
      seen.why = status.to_string();
      break;
    }
  }
  return seen;
}

void reply(std::string_view bytes) {
  const std::vector<std::byte> pool(100);
  TcpOutgoing outgoing("hello", pool);
  const Copy copy{0, 0, 100};
  outgoing.begin();
  for (PutId put = 1; put < 10; ++put) outgoing.put(put, std::span(&copy, 1), "here", kNoPermit);
  std::vector<PutId> acknowledged, landed;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, 7);
    bytes.remove_prefix(piece.size());
    if (!outgoing.received(piece, &acknowledged, &landed).is_ok()) break;
    const auto parts = outgoing.next_parts();
    outgoing.sent(std::accumulate(parts.begin(), parts.end(), size_t{0},
                                  [](size_t sum, const iovec& part) { return sum + part.iov_len; }));
  }
  CHECK(acknowledged.size() <= 9 && landed.empty());
}

template <class T>
void parse(std::string_view bytes) {
  for (const std::string& tried : {std::string(bytes), with_checksum(std::string(bytes))}) {
    const auto parsed = T::parse(tried);
    if (parsed.is_ok()) CHECK(T::parse(parsed->to_bytes()).is_ok());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  parse<ShmMetadata>(bytes);
  parse<TcpMetadata>(bytes);
  parse<PoolCard>(bytes);
  reply(bytes);
  const std::string hello = hello_of(std::string(kSecretBytes, 's'));
  const TcpFrameHeader header{.type = TcpFrameType::kHello, .bytes = hello.size()};
  const std::string greeted = std::string(bytes_of(header)) + hello + std::string(bytes);
  for (const std::string_view stream : {bytes, std::string_view(greeted)})
    CHECK(receive(stream, 1) == receive(stream, 4096));
  return 0;
}
