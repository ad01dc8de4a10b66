// The first frame of a connection, as bytes of anybody's making.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "rpc/identity.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static_cast<void>(dynamo::rpc::check_hello({reinterpret_cast<const char*>(data), size}, {}, 1));
  return 0;
}
