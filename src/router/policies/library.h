// Policies out of a shared library that a user wrote: the program's side of router/policy_abi.h.
//
// Checks everything that the library says before it is used: a library may be wrong, but not crash the router with an
// index or fill the metrics with reasons. What it does inside its own calls is its own affair; it runs in this process.
// Threads: a PolicyLibrary any; each of its policies one at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <prometheus/counter.h>

#include "base/status.h"
#include "router/policy.h"
#include "router/policy_abi.h"

namespace dynamo::router {

// Loaded until it and all its policies are gone; shared by the routers of all models.
class PolicyLibrary : public std::enable_shared_from_this<PolicyLibrary> {
 public:
  // Runs the library's own start-up code and tries `config` with a policy that it gives up at once. Call it when
  // signals are blocked, for a library may start threads.
  // Errors: kNotFound (no such file), kInvalid (no library, without the function, of another version, broken table,
  // config refused).
  static Result<std::shared_ptr<const PolicyLibrary>> open(const std::string& path, std::string config);
  ~PolicyLibrary();
  PolicyLibrary(const PolicyLibrary&) = delete;
  PolicyLibrary& operator=(const PolicyLibrary&) = delete;

  std::string_view name() const { return table_->name; }

  // A new policy. `builtin` decides where the library's choice cannot be used, which `faults` counts.
  // Requires: `builtin` always chooses; `faults` outlives the policy.  Returns: `builtin` itself, and logs why, if the
  // library makes no policy this time.
  std::unique_ptr<Policy> make_policy(uint32_t block_tokens, std::unique_ptr<Policy> builtin,
                                      prometheus::Counter* faults) const;

 private:
  PolicyLibrary(void* handle, const dynamo_policy_table* table, std::string config)
      : handle_(handle), table_(table), config_(std::move(config)) {}
  Result<void*> create() const;

  void* handle_;  // of dlopen
  const dynamo_policy_table* table_;
  const std::string config_;
};

}  // namespace dynamo::router
