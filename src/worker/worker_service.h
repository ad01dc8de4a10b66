// What a worker answers on the request plane: generation, its model's description, a snapshot of its blocks.
// Threads: handle() on any I/O thread of the server; immutable once made.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "generate/generator.h"
#include "rpc/server.h"
#include "worker/kv_publisher.h"

namespace dynamo::wire {
class Prefill;
class SetRole;
}  // namespace dynamo::wire

namespace dynamo::worker {

struct WorkerServiceParts {
  std::shared_ptr<Generator> generator;
  std::string model_bundle;  // bytes
  std::string model_digest;  // of them
  const KvPublisher* blocks = nullptr;
  std::function<void()> clear_blocks;
  std::function<Task<std::string>(wire::Prefill)> prefill;   // null: it computes no prompts for others
  std::function<Task<std::string>(wire::SetRole)> set_role;  // gives a wire::RoleReply
};

class WorkerService {
 public:
  explicit WorkerService(WorkerServiceParts parts) : parts_(std::move(parts)) {}
  // An rpc::Handler. Outlives every answer. Errors: kInvalid, kCorrupt, kNotFound (a model's digest), the Generator's.
  Task<Status> handle(std::string request, rpc::ReplyStream* reply) const;

 private:
  Task<Status> send_model(std::string digest, rpc::ReplyStream* reply) const;
  Task<Status> send_blocks(rpc::ReplyStream* reply) const;

  WorkerServiceParts parts_;
};

// Sends a request to a Generator and its answer to `reply`.
Task<Status> answer_generate(Generator* generator, GenerateRequest request, rpc::ReplyStream* reply);

}  // namespace dynamo::worker
