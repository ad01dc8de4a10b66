// What comes over the request plane and the event bus, as bytes of anybody's making: parsers must refuse, never crash, and
// what one takes it takes again as it was.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "wire/bus_messages.h"
#include "wire/chunk.h"
#include "wire/handoff_notice.h"
#include "wire/reply.h"
#include "wire/request.h"
#include "wire/status.h"

namespace dynamo::wire {
namespace {

// Writing what was read and reading that gives the same bytes again.
template <class T>
void take(const Result<T>& read, Result<T> (*again)(std::string_view)) {
  if (!read.is_ok()) return;
  const std::string bytes = to_bytes(*read);
  const Result<T> second = again(bytes);
  CHECK_OK(second);
  CHECK(to_bytes(*second) == bytes);
}

void take_request(std::string_view bytes) {
  const auto read = request_from_bytes(bytes, Time());
  if (!read.is_ok()) return;
  const auto* prompt = std::get_if<Result<GenerateRequest>>(&*read);
  const auto* order = std::get_if<Result<PrefillOrder>>(&*read);
  if (prompt != nullptr && prompt->is_ok()) {
    const auto again = request_from_bytes(to_bytes(**prompt, Time()), Time());
    CHECK_OK(std::get<Result<GenerateRequest>>(again.value()));
  }
  if (order != nullptr && order->is_ok()) {
    const auto again = request_from_bytes(to_bytes(**order, Time()), Time());
    CHECK_OK(std::get<Result<PrefillOrder>>(again.value()));
  }
}

void take_replies(std::string_view bytes) {
  Result<PrefillReport> report;
  if (read_prefill_reply(bytes, &report).is_ok()) CHECK(read_prefill_reply(prefill_reply(report), &report).is_ok());
  static_cast<void>(read_role_reply(bytes));
  SnapshotReader parts;
  if (parts.take(bytes).is_ok()) static_cast<void>(parts.take(bytes));
  CHECK(!failure_from_bytes(bytes).is_ok());
}

}  // namespace
}  // namespace dynamo::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dynamo::wire;  // NOLINT
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 7) {
    case 0:
      take(chunk_from_bytes(bytes), chunk_from_bytes);
      break;
    case 1:
      take_request(bytes);
      break;
    case 2:
      take_replies(bytes);
      break;
    case 3:
      take(kv_events_from_bytes(bytes), kv_events_from_bytes);
      break;
    case 4:
      take(heartbeat_from_bytes(bytes), heartbeat_from_bytes);
      break;
    case 5:
      take(router_notice_from_bytes(bytes), router_notice_from_bytes);
      break;
    default:
      take(handoff_notice_from_bytes(bytes), handoff_notice_from_bytes);
  }
  return 0;
}
