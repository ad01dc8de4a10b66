// What a worker announces of itself, and how it is written down.
//
// etcd and the hub keep these as readable JSON, one key a worker, under the worker's lease (discovery/keys.h). The
// members' meaning: docs/reference/discovery.md.  Threads: values and pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace dynamo::discovery {

enum class Role : uint8_t { kAggregated, kPrefill, kDecode };
std::string_view role_name(Role role);  // "aggregated", "prefill", "decode"
std::optional<Role> parse_role(std::string_view name);

struct WorkerInstance {
  uint64_t instance = 0;  // random, never 0; the same for the life of the process
  std::string name;       // "worker-1": by role and order of arrival, claimed once so that every frontend says the same
  Role role = Role::kAggregated;
  std::string model;          // served name
  std::string address;        // "10.0.0.1:4711", of the request plane
  uint32_t block_tokens = 0;  // JSON: block_size
  uint32_t total_blocks = 0;
  uint32_t max_batch_tokens = 0;  // tokens of one engine step
  uint32_t max_sequences = 0;     // running at once; 0: not known (one of before this was announced)
  uint32_t context_length = 0;    // prompt and answer together
  std::string model_digest;       // of card, tokenizer and template: workers of one model must agree
  std::string transfer;           // KV transfer backends it can do, comma-separated; empty: none
  int64_t started_at = 0;         // Unix milliseconds
  std::string version;            // of the program
  bool is_leaving = false;        // JSON: leaving, if so. It wants no new requests; its key goes next
  bool operator==(const WorkerInstance&) const = default;
};

std::string to_json(const WorkerInstance& worker);
// What a worker says of itself goes into logs, headers, labels of metrics and addresses. Errors: kInvalid (names the
// member and what it may be): `name` is up to 128 of A-Z a-z 0-9 . _ -; `model` up to 256 bytes of UTF-8 without
// control characters; `address` is host:port; `model_digest`, `transfer` and `version` are up to 128 visible ASCII
// characters, or none.
Status check(const WorkerInstance& worker);
// Errors: kCorrupt (not a JSON object, or a member missing, of the wrong type, out of range or not as check() wants it,
// by name). Unknown members are ignored: a newer worker may say more.
Result<WorkerInstance> worker_from_json(std::string_view json);

// What a frontend announces of itself.
struct FrontendInstance {
  std::string url;         // where others reach it; empty: they do not, or it is not known
  std::string name_space;  // JSON: namespace
  std::string version;     // of the program
};
std::string to_json(const FrontendInstance& frontend);

}  // namespace dynamo::discovery
