// What comes over the request plane and the event bus, as bytes of anybody's making: parsers must refuse, never crash.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "rpc/generate_messages.h"
#include "rpc/identity.h"
#include "wire/messages.pb.h"
#include "wire/status.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dynamo;  // NOLINT
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0: {
      const auto chunk = rpc::chunk_from_bytes(bytes);
      if (chunk.is_ok()) CHECK_OK(rpc::chunk_from_bytes(rpc::to_bytes(*chunk)));
      break;
    }
    case 1: {
      wire::Generate message;
      if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) break;
      const auto request = rpc::from_message(message, Time());
      if (!request.is_ok()) break;
      wire::Generate again;
      rpc::to_message(*request, Time(), &again);
      CHECK_OK(rpc::from_message(again, Time()));
      break;
    }
    case 2:
      static_cast<void>(rpc::check_hello(bytes, {}, 1));
      break;
    default:
      CHECK(!wire::failure_from_bytes(bytes).is_ok());
  }
  return 0;
}
