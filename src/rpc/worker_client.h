// A worker in another process: a Generator, and all else that can be asked of it. The one client of the request plane.
//
// One channel per executor, made when the worker is first seen and kept until stop(); a request uses the channel of the
// executor that awaits it, so that no lock and no hop between threads lies on its path.
// Threads: what is a Task on any of the executors; the rest from any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "generate/generator.h"
#include "rpc/channel.h"
#include "wire/reply.h"
#include "wire/request.h"

namespace dynamo::rpc {

// How far an order for a prompt has come.
enum class Asked : uint8_t {
  kNotSent,  // the worker cannot have heard of it
  kSent,     // it may work on it, and write
  kAnswered  // it has said that nothing more will be written
};

class WorkerClient : public Generator, public std::enable_shared_from_this<WorkerClient> {
 public:
  // Each executor is a single I/O thread. `options.on_change` is called per channel, on its thread.
  static std::shared_ptr<WorkerClient> create(ChannelOptions options,
                                              std::vector<boost::asio::any_io_executor> executors);

  // Starts to connect.
  virtual void start() = 0;
  // Takes no new requests, and stops when the last has ended. Returns at once.
  virtual void retire() = 0;
  // Ends every request with kUnavailable and connects no more. Returns at once.
  virtual void stop() = 0;
  // Every channel is connected.
  virtual bool is_connected() const = 0;

  // Adds to Generator's errors: kUnavailable (not connected, or the connection broke).
  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) override = 0;

  // These wait for a connection. Errors: kUnavailable, kDeadline, kCorrupt (what came cannot be read), and what the
  // worker says.
  // A model's description, as bytes (model_bundle). Errors: kNotFound (the worker does not have that digest).
  virtual Task<Result<std::string>> fetch_model(std::string digest, Time until) = 0;
  virtual Task<Result<wire::BlockSnapshot>> fetch_blocks(Time until) = 0;
  // Empties the worker's cache.
  virtual Task<Status> clear_blocks(Time until) = 0;
  // Has it serve in another role. Returns: its name in that.
  virtual Task<Result<std::string>> set_role(wire::SetRole request, Time until) = 0;
  // Has it compute a prompt into the pool that the order names; dropped, it is told to stop. A connection that is not
  // there within 1 s is not waited for. `asked` is kept true all the time.
  virtual Task<Result<PrefillReport>> prefill(PrefillOrder order, Time until, Asked* asked) = 0;
};

}  // namespace dynamo::rpc
