// The connection to a worker that is taken: one channel per I/O thread, and what is logged of them.
// Threads: any.  Private to the module.
#pragma once

#include <functional>
#include <memory>

#include "base/io_threads.h"
#include "discovery/instance.h"
#include "rpc/identity.h"
#include "rpc/worker_client.h"

namespace dynamo::frontend {

// Starts to connect. Logs when all channels are connected; and when one is lost or cannot be had, once for each kind of
// reason: one that refuses connections at first may later turn out to be of another version. `on_lost` is called
// whenever a channel is lost, on an I/O thread, perhaps after the connection was dropped here.
std::shared_ptr<rpc::WorkerClient> connect_to(const discovery::WorkerInstance& worker, rpc::Identity self,
                                              IoThreads* io, std::function<void()> on_lost);

}  // namespace dynamo::frontend
