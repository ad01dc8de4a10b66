// The workers that compute prompts for us, as who can be asked.
// Threads: ask() on the executor of its coroutine.  Private to the module.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "base/task.h"
#include "generate/generate_request.h"
#include "rpc/identity.h"

namespace dynamo::handoff {

class PrefillPeers {
 public:
  virtual ~PrefillPeers() = default;
  // Sends `request` (a wire::Request with a Prefill) and waits for the reply (wire::PrefillReply). Dropped, it cancels. Sets `was_sent` before the
  // peer can have heard of it. Errors: kUnavailable (not connected, the connection broke), kDeadline, what the peer says.
  virtual Task<Result<std::string>> ask(PrefillPlace place, std::string request, Time until, bool* was_sent) = 0;
};

// Connects on `executor` (a single I/O thread) to those asked, and keeps connections for as long as they are used; one that nobody
// used for a minute is closed. What one place's address answers is never taken for another's. To be destroyed on the executor, or after its end.
std::unique_ptr<PrefillPeers> make_remote_peers(boost::asio::any_io_executor executor, rpc::Identity identity);

}  // namespace dynamo::handoff
