#include "handoff/prefill_order.h"

#include <algorithm>
#include <chrono>

#include "rpc/generate_messages.h"
#include "wire/messages.pb.h"
#include "wire/status.h"

namespace dynamo::handoff {
namespace {

uint64_t microseconds(Duration time) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

// What a stranger says, as far as it can be meant.
Duration time_of(uint64_t microseconds) {
  constexpr uint64_t kYear = 365ULL * 24 * 3600 * 1'000'000;
  return std::chrono::microseconds(std::min(microseconds, kYear));
}

}  // namespace

std::string to_bytes(const PrefillOrder& order, Time now) {
  wire::Request whole;
  wire::Prefill& message = *whole.mutable_prefill();
  rpc::to_message(order.request, now, message.mutable_generate());
  message.set_room(order.room);
  message.set_first_block(order.first_block);
  message.mutable_blocks()->Add(order.blocks.begin(), order.blocks.end());
  message.set_card(order.card);
  return whole.SerializeAsString();
}

Result<PrefillOrder> order_from_message(const wire::Prefill& message, Time now) {
  PrefillOrder order;
  TRY(order.request, rpc::from_message(message.generate(), now));
  order.room = message.room();
  order.first_block = message.first_block();
  order.blocks.assign(message.blocks().begin(), message.blocks().end());
  order.card = message.card();
  return order;
}

std::string to_bytes(const Result<PrefillReport>& report) {
  wire::PrefillReply reply;
  if (!report.is_ok()) {
    reply.set_failure(wire::to_bytes(report.status()));
    return reply.SerializeAsString();
  }
  reply.set_cached_tokens(report->cached_tokens);
  reply.set_blocks(report->blocks);
  reply.set_bytes(report->bytes);
  reply.set_queue_us(microseconds(report->queue));
  reply.set_compute_us(microseconds(report->compute));
  reply.set_transfer_us(microseconds(report->transfer));
  reply.set_overlap_us(microseconds(report->overlap));
  reply.set_backend(report->backend);
  return reply.SerializeAsString();
}

Status report_from_bytes(std::string_view bytes, Result<PrefillReport>* report) {
  wire::PrefillReply reply;
  if (!reply.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return corrupt("a reply that cannot be read");
  if (!reply.failure().empty()) {
    *report = wire::failure_from_bytes(reply.failure());
    return {};
  }
  PrefillReport said;
  said.cached_tokens = reply.cached_tokens();
  said.blocks = reply.blocks();
  said.bytes = reply.bytes();
  said.queue = time_of(reply.queue_us());
  said.compute = time_of(reply.compute_us());
  said.transfer = time_of(reply.transfer_us());
  said.overlap = time_of(reply.overlap_us());
  said.backend = reply.backend();
  *report = std::move(said);
  return {};
}

}  // namespace dynamo::handoff
