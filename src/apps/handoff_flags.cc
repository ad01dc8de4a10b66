#include "apps/handoff_flags.h"

#include "base/check.h"
#include "wire/messages.pb.h"

namespace dynamo::apps {

discovery::Role role_of(std::string_view mode) {
  if (mode == "prefill") return discovery::Role::kPrefill;
  if (mode == "decode") return discovery::Role::kDecode;
  CHECK(mode == "aggregated");
  return discovery::Role::kAggregated;
}

void serve_handoffs(worker::HandoffHost* handoffs, worker::HostedEngine* hosted) {
  hosted->prefill = [handoffs](wire::Prefill prefill) { return handoffs->answer(std::move(prefill)); };
  hosted->transfer_tokens_per_second = [handoffs] { return handoffs->transfer_tokens_per_second(); };
  hosted->transfer = handoffs->backends();
}

}  // namespace dynamo::apps
