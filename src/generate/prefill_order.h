// A prompt that one worker has another compute: the order, and the report of how it went.
// Threads: values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "generate/generate_request.h"

namespace dynamo {

struct PrefillOrder {
  GenerateRequest request;
  uint64_t room = 0;             // names the hand-off in notices
  uint32_t first_block = 0;      // of the prompt; who orders has those before it
  std::vector<uint32_t> blocks;  // of the orderer's pool: where the prompt's blocks from first_block on go
  std::string card;              // of that pool (transfer/pool_card.h)
};

struct PrefillReport {
  uint32_t cached_tokens = 0;
  uint32_t blocks = 0;  // written
  uint64_t bytes = 0;
  Duration queue{};     // until the prompt's first step
  Duration compute{};   // from then to its last
  Duration transfer{};  // with a write in flight
  Duration overlap{};   // of that, before the last step ended
  std::string backend;
};

// What a worker says to an order if it takes no part in hand-offs.
inline Status moves_no_blocks() {
  return unsupported("this worker has no way to move KV blocks to another");
}

}  // namespace dynamo
