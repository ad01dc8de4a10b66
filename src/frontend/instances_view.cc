#include "frontend/instances_view.h"

#include <boost/json/object.hpp>

#include "base/instance_id.h"
#include "text/utf8.h"

namespace dynamo::frontend {
namespace {

namespace json = boost::json;

// A key may be any bytes; JSON is UTF-8.
std::string shown(std::string_view key) {
  std::string text;
  if (text::append_utf8(key, &text) > 0) text += text::kReplacement;
  return text;
}

void add_view(const router::WorkerView& view, json::object* out) {
  (*out)["state"] = router::state_name(view.state);
  (*out)["active_requests"] = view.active_requests;
  (*out)["queued_tokens"] = view.queued_tokens;
  (*out)["active_blocks"] = view.active_blocks;
  (*out)["cached_blocks"] = view.cached_blocks;
  (*out)["total_blocks"] = view.total_blocks;
  (*out)["index"] = router::index_name(view.index_state);
}

}  // namespace

json::array instances_view(const Members& members, const std::map<uint64_t, router::WorkerView>& views) {
  json::array all;
  for (const auto& [key, member] : members) {
    json::object entry{{"worker", member.worker.name},
                       {"instance", instance_text(member.worker.instance)},
                       {"role", discovery::role_name(member.worker.role)},
                       {"model", member.worker.model},
                       {"address", member.worker.address}};
    const auto view = views.find(member.worker.instance);
    if (!member.is_taken()) {
      entry["state"] = "refused";
      entry["why"] = member.refusal;
      entry["key"] = shown(key);
    } else if (view == views.end()) {
      entry["state"] = "loading model";
    } else {
      if (member.state == Member::State::kUnlisted) entry["why"] = "its key is gone; it stays while it is connected";
      add_view(view->second, &entry);
    }
    all.push_back(std::move(entry));
  }
  return all;
}

}  // namespace dynamo::frontend
