#include "router/worker.h"

#include <array>

namespace dynamo::router {

std::string_view state_name(WorkerState state) {
  constexpr std::array<std::string_view, 4> kNames = {"ready", "connecting", "loading index", "busy"};
  return kNames.at(static_cast<size_t>(state));
}

std::string_view index_name(std::optional<KvFeed::State> state) {
  constexpr std::array<std::string_view, 4> kNames = {"unknown", "catching up", "proven", "partial"};
  return state ? kNames.at(static_cast<size_t>(*state)) : "guessed";
}

}  // namespace dynamo::router
