// What a worker answers on the request plane: generation, prompts for others, its model's
// description, a snapshot of its blocks, changes of its role.
// Threads: handle() on any I/O thread of the server; immutable once made.  Private to the module.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "generate/generator.h"
#include "rpc/server.h"
#include "wire/request.h"
#include "worker/engine_host.h"
#include "worker/kv_publisher.h"
#include "worker/requests_in_flight.h"

namespace dynamo::worker {

// All outlive the service.
struct WorkerServiceParts {
  EngineHost* host = nullptr;
  std::string model_digest;  // of its bundle
  const KvPublisher* blocks = nullptr;
  RequestsInFlight* requests = nullptr;  // those that the engine works for
  // Gives the worker's name in its new role.
  std::function<Task<Result<std::string>>(discovery::Role role, std::chrono::seconds drain)> set_role;
};

class WorkerService {
 public:
  explicit WorkerService(WorkerServiceParts parts) : parts_(std::move(parts)), generator_(parts_.host->generator()) {}
  // An rpc::Handler. Outlives every answer. Errors: kInvalid, kCorrupt, kNotFound (a model's digest), the Generator's.
  Task<Status> handle(std::string request, rpc::ReplyStream* reply) const;

 private:
  Task<Status> generate(Result<GenerateRequest> request, rpc::ReplyStream* reply) const;
  Task<Status> prefill(Result<PrefillOrder> order, rpc::ReplyStream* reply) const;
  Task<Status> set_role(wire::SetRole request, rpc::ReplyStream* reply) const;
  Task<Status> send_model(std::string digest, rpc::ReplyStream* reply) const;
  Task<Status> send_blocks(rpc::ReplyStream* reply) const;

  WorkerServiceParts parts_;
  std::shared_ptr<Generator> generator_;
};

// Sends a request to a Generator and its answer to `reply`.
Task<Status> answer_generate(Generator* generator, GenerateRequest request, rpc::ReplyStream* reply);

}  // namespace dynamo::worker
