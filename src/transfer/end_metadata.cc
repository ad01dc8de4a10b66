#include "transfer/end_metadata.h"

#include <xxhash.h>

#include <fmt/format.h>

#include "transfer/byte_record.h"
#include "transfer/kv_transport.h"

namespace dynamo::transfer {
namespace {

constexpr uint32_t kMagic = 0x4d564b44;  // "DKVM"

ByteWriter begin(std::string_view backend, uint32_t version) {
  ByteWriter writer;
  writer.number(kMagic);
  writer.text(backend);
  writer.number(version);
  return writer;
}

// A reader of the backend's fields.
Result<ByteReader> open(std::string_view bytes, std::string_view backend, uint32_t version) {
  if (bytes.size() > kMostMetadataBytes) return corrupt(fmt::format("metadata of {} bytes", bytes.size()));
  TRY(const std::string_view checked, without_checksum(bytes));
  ByteReader reader(checked);
  if (reader.number<uint32_t>() != kMagic) return corrupt("these bytes are no end's metadata");
  const std::string_view its_backend = reader.text();
  if (its_backend != backend)
    return corrupt(fmt::format("metadata of backend '{}' was given to backend '{}'", its_backend, backend));
  const auto its_version = reader.number<uint32_t>();
  if (reader.is_short()) return corrupt("metadata ends before its version");
  if (its_version != version)
    return corrupt(fmt::format("metadata of {} version {}; this end speaks version {}", backend, its_version, version));
  return reader;
}

}  // namespace

std::string with_checksum(std::string bytes) {
  const uint64_t sum = XXH3_64bits(bytes.data(), bytes.size());
  return bytes.append(reinterpret_cast<const char*>(&sum), sizeof(sum));
}

Result<std::string_view> without_checksum(std::string_view bytes) {
  uint64_t sum = 0;
  if (bytes.size() < sizeof(sum)) return corrupt(fmt::format("{} bytes are too few for a checksum", bytes.size()));
  const std::string_view checked = bytes.substr(0, bytes.size() - sizeof(sum));
  std::memcpy(&sum, bytes.data() + checked.size(), sizeof(sum));
  if (XXH3_64bits(checked.data(), checked.size()) != sum) return corrupt("the checksum does not match");
  return checked;
}

std::string ShmMetadata::to_bytes() const {
  ByteWriter writer = begin("shm", kVersion);
  writer.text(host);
  writer.text(address);
  writer.text(secret);
  writer.number(pool_bytes);
  writer.text(name);
  return with_checksum(writer.take());
}

Result<ShmMetadata> ShmMetadata::parse(std::string_view bytes) {
  TRY(ByteReader reader, open(bytes, "shm", kVersion));
  ShmMetadata metadata;
  metadata.host = reader.text();
  metadata.address = reader.text();
  metadata.secret = reader.text();
  metadata.pool_bytes = reader.number<uint64_t>();
  metadata.name = reader.text();
  constexpr size_t kMostAddressBytes = 100;  // of a sockaddr_un
  if (!reader.is_done() || metadata.secret.size() != kSecretBytes || metadata.address.size() > kMostAddressBytes)
    return corrupt("metadata of shm with fields of the wrong size");
  return metadata;
}

std::string TcpMetadata::to_bytes() const {
  ByteWriter writer = begin("tcp", kVersion);
  writer.text(host);
  writer.number(port);
  writer.text(secret);
  writer.number(pool_bytes);
  writer.text(name);
  return with_checksum(writer.take());
}

Result<TcpMetadata> TcpMetadata::parse(std::string_view bytes) {
  TRY(ByteReader reader, open(bytes, "tcp", kVersion));
  TcpMetadata metadata;
  metadata.host = reader.text();
  metadata.port = reader.number<uint16_t>();
  metadata.secret = reader.text();
  metadata.pool_bytes = reader.number<uint64_t>();
  metadata.name = reader.text();
  if (!reader.is_done() || metadata.secret.size() != kSecretBytes)
    return corrupt("metadata of tcp with fields of the wrong size");
  return metadata;
}

}  // namespace dynamo::transfer
