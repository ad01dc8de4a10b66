// What travels with the blocks of a hand-off and arrives after them, as bytes.  Spec: docs/reference/handoff.md.
// Threads: values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace dynamo::wire {

struct HandoffNotice {
  enum class Kind : uint8_t {
    kBlocks,   // blocks are there now
    kWaiting,  // nothing new, but the worker computes: the prompt's turn will come
    kClosed    // of a cancelled hand-off: nothing more will be written
  };
  uint64_t room = 0;
  Kind kind = Kind::kBlocks;
  uint32_t first_block = 0;   // kBlocks: of the prompt; those from here on are there,
  uint32_t computed = 0;      // up to this many of its tokens
  std::string first_token{};  // with the prompt's last block: a chunk (wire/chunk.h), not read yet: a broken one says
                              // whose it is, too
};

std::string to_bytes(const HandoffNotice& notice);
// Errors: kCorrupt.
Result<HandoffNotice> handoff_notice_from_bytes(std::string_view bytes);

}  // namespace dynamo::wire
