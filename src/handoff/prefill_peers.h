// The workers that compute prompts for us, as who can be asked.
// Threads: ask() on the executor of its coroutine.  Private to the module.
#pragma once

#include <memory>

#include "base/clock.h"
#include "base/status.h"
#include "base/task.h"
#include "generate/prefill_order.h"
#include "rpc/identity.h"
#include "rpc/worker_client.h"

namespace dynamo::handoff {

class PrefillPeers {
 public:
  virtual ~PrefillPeers() = default;
  // As rpc::WorkerClient::prefill(), of the worker at `place`. `asked` is true also when an exception comes out.
  virtual Task<Result<PrefillReport>> ask(PrefillPlace place, PrefillOrder order, Time until, rpc::Asked* asked) = 0;
};

// Connects on `executor` (a single I/O thread) to those asked, and keeps connections for as long as they are used; one
// that nobody used for a minute is closed. What one place's address answers is never taken for another's. To be
// destroyed on the executor, or after its end.
std::unique_ptr<PrefillPeers> make_remote_peers(boost::asio::any_io_executor executor, rpc::Identity identity);

}  // namespace dynamo::handoff
