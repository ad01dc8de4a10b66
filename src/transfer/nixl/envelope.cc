#include "transfer/nixl/envelope.h"

#include <xxhash.h>

#include <bit>
#include <cstring>

#include <fmt/format.h>

namespace dynamo::transfer::nixl {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr std::string_view kMagic = "dynNIXL";
constexpr char kVersion = '1';
constexpr size_t kHead = kMagic.size() + 1 + sizeof(uint64_t);

template <class T>
void put(std::string* to, T value) {
  to->append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_text(std::string* to, std::string_view text) {
  put(to, static_cast<uint32_t>(text.size()));
  to->append(text);
}

// Takes fields off the front; one that is not there is zero or empty, and leaves is_whole false.
struct Reader {
  std::string_view rest;
  bool is_whole = true;

  template <class T>
  T take() {
    T value{};
    const std::string_view bytes = take_bytes(sizeof value);
    if (is_whole) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  std::string_view take_bytes(size_t count) {
    if (count > rest.size()) is_whole = false;
    if (!is_whole) return {};
    const std::string_view bytes = rest.substr(0, count);
    rest.remove_prefix(count);
    return bytes;
  }
};

}  // namespace

std::string seal(const Envelope& envelope) {
  std::string body;
  put(&body, static_cast<uint8_t>(envelope.kind));
  put(&body, envelope.device);
  put(&body, envelope.address);
  put(&body, envelope.bytes);
  put_text(&body, envelope.agent);
  put_text(&body, envelope.blob);
  std::string sealed(kMagic);
  sealed.push_back(kVersion);
  put(&sealed, uint64_t{XXH3_64bits(body.data(), body.size())});
  return sealed + body;
}

Result<Envelope> unseal(std::string_view bytes) {
  if (!bytes.starts_with(kMagic) || bytes.size() < kHead)
    return corrupt(fmt::format("these {} bytes are not metadata of the backend nixl", bytes.size()));
  if (bytes[kMagic.size()] != kVersion)
    return corrupt(fmt::format("it is metadata of version {:?} of the backend nixl, this program has version {}",
                               bytes[kMagic.size()], kVersion));
  Reader reader{bytes.substr(kMagic.size() + 1)};
  const auto hash = reader.take<uint64_t>();
  if (hash != XXH3_64bits(reader.rest.data(), reader.rest.size()))
    return corrupt("metadata of the backend nixl was damaged on its way");
  Envelope envelope;
  const auto kind = reader.take<uint8_t>();
  envelope.kind = static_cast<MemoryKind>(kind);
  envelope.device = reader.take<uint32_t>();
  envelope.address = reader.take<uint64_t>();
  envelope.bytes = reader.take<uint64_t>();
  envelope.agent = reader.take_bytes(reader.take<uint32_t>());
  envelope.blob = reader.take_bytes(reader.take<uint32_t>());
  if (!reader.is_whole || !reader.rest.empty() || kind > static_cast<uint8_t>(MemoryKind::kCuda) ||
      envelope.agent.empty() || envelope.bytes > UINT64_MAX - envelope.address)
    return corrupt("metadata of the backend nixl makes no sense");
  return envelope;
}

}  // namespace dynamo::transfer::nixl
