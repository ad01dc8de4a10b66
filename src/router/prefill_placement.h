// Where the prompt of a request is computed: by the worker that decodes, or by the prefill worker that was chosen.
// The rule and what it goes by: docs/reference/routing.md, "Two pools".  Threads: pure functions.
// Private to the module.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace dynamo::router {

// A worker that could compute the prompt.
struct PromptSite {
  std::string_view worker;
  uint64_t uncached_tokens = 0;   // of the prompt
  uint64_t waiting_tokens = 0;    // of prompts there, to compute before this one
  double prefill_rate = 0;        // tokens per second; 0: not known
  double transfer_rate = 0;       // into other workers' pools; 0: not known
  std::optional<Time> prompt_at;  // when it was last given a prompt
};

struct PrefillPlacement {
  enum class Why : uint8_t {
    kAggregated,       // here: the worker does both
    kNoPrefillWorker,  // here: none is ready
    kShort,            // here: few enough tokens are not cached
    kToMeasureHere,    // here: its rate is not known
    kSoonerHere,       // here: there it would take too long
    kLong,             // there: too many tokens are not cached here
    kSoonerThere,      // there: it takes less, or not much more
    kToMeasureThere    // there: it seemed slow, but that is long ago
  };
  Why why = Why::kAggregated;
  std::string text;  // who computes it there, or why it is computed here

  bool is_here() const { return why < Why::kLong; }
};

// `decode` is the worker that decodes and `prefill`, null if none is ready, the one that was chosen for the prompt.
// `max_local_length` as RouterSettings::max_local_prefill_length.
PrefillPlacement place_prefill(bool is_aggregated, const PromptSite& decode, const PromptSite* prefill,
                               std::optional<uint32_t> max_local_length, Time now);

}  // namespace dynamo::router
