// A worker in another process, as a Generator; and what else can be asked of it.
//
// One channel per I/O thread, made when the worker is first seen and kept until stop(); a request uses the channel of the thread
// that awaits it, so that no lock and no hop between threads lies on its path.
// Threads: generate() and the fetches on any of the I/O threads; the rest from any thread.
#pragma once

#include <memory>
#include <string>

#include "base/io_threads.h"
#include "generate/generator.h"
#include "rpc/channel.h"
#include "wire/reply.h"

namespace dynamo::rpc {

class RemoteWorker : public Generator, public std::enable_shared_from_this<RemoteWorker> {
 public:
  // `options.on_change` is called per channel, on its thread; `io` outlives this.
  static std::shared_ptr<RemoteWorker> create(ChannelOptions options, IoThreads* io);

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

  // A model's card, tokenizer and template as bytes (wire::ModelBundle). Waits for a connection. Errors: kNotFound (the worker does
  // not have that digest), kUnavailable, kDeadline.
  virtual Task<Result<std::string>> fetch_model(std::string digest, Time until) = 0;
  // Errors: kUnavailable, kDeadline, kCorrupt (cut short, or its sum is wrong).
  virtual Task<Result<wire::BlockSnapshot>> fetch_blocks(Time until) = 0;
  // Empties the worker's cache. Errors: kUnavailable, kDeadline.
  virtual Task<Status> clear_blocks(Time until) = 0;
};

}  // namespace dynamo::rpc
