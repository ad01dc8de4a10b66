// Metadata of ends: where a peer finds one, and the secret that lets it write there.
//
//   u32 "DKVM" | text backend | u32 version | the backend's fields | u64 XXH3 of all before           (transfer/byte_record.h)
//
// It goes through other hands and is not trusted: bytes cut, changed or made up are kCorrupt.  Threads: values and pure functions.
// Private to the module.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace dynamo::transfer {

inline constexpr size_t kSecretBytes = 16;

struct ShmMetadata {
  static constexpr uint32_t kVersion = 2;
  std::string host;     // this_host()
  std::string address;  // of the abstract unix socket
  std::string secret;   // kSecretBytes
  uint64_t pool_bytes = 0;
  std::string name;

  std::string to_bytes() const;
  static Result<ShmMetadata> parse(std::string_view bytes);
};

struct TcpMetadata {
  static constexpr uint32_t kVersion = 2;
  std::string host;  // a numeric address
  uint16_t port = 0;
  std::string secret;  // kSecretBytes
  uint64_t pool_bytes = 0;
  std::string name;

  std::string to_bytes() const;
  static Result<TcpMetadata> parse(std::string_view bytes);
};

// Puts the checksum after `bytes`. The inverse returns what was before it. Errors: kCorrupt.
std::string with_checksum(std::string bytes);
Result<std::string_view> without_checksum(std::string_view bytes);

}  // namespace dynamo::transfer
