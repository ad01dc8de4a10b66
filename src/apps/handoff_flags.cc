#include "apps/handoff_flags.h"

#include <glob.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <span>
#include <utility>

#include "transfer/nixl/nixl_api.h"
#include "wire/messages.pb.h"

namespace dynamo::apps {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

OptionValue role_value(discovery::Role* role) {
  using discovery::Role;
  return one_of(role, {Role::kAggregated, Role::kPrefill, Role::kDecode}, discovery::role_name);
}

transfer::NixlLibrary nixl_library(const std::string& file) {
  transfer::NixlLibrary library{.file = file, .prefixes = {}};
  for (const char* name : {"NIXL_PREFIX", "VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (std::string prefix = variable(name); !prefix.empty()) library.prefixes.push_back(std::move(prefix));
  }
  for (std::string& prefix : transfer::nixl::python_prefixes(variable("PATH"))) {
    if (std::ranges::find(library.prefixes, prefix) == library.prefixes.end())
      library.prefixes.push_back(std::move(prefix));
  }
  return library;
}

bool has_rdma() {
  glob_t ports{};
  bool is_any_up = false;
  if (::glob("/sys/class/infiniband/*/ports/*/state", 0, nullptr, &ports) == 0) {
    for (const char* file : std::span(ports.gl_pathv, ports.gl_pathc)) {
      std::ifstream port(file);
      std::string state;  // "4: ACTIVE"
      is_any_up |= std::getline(port, state) && state.starts_with("4:");
    }
  }
  ::globfree(&ports);
  return is_any_up;
}

void serve_handoffs(worker::HandoffHost* handoffs, worker::HostedEngine* hosted) {
  hosted->prefill = [handoffs](wire::Prefill prefill) { return handoffs->answer(std::move(prefill)); };
  hosted->transfer_tokens_per_second = [handoffs] { return handoffs->transfer_tokens_per_second(); };
  hosted->transfer = handoffs->backends();
}

}  // namespace dynamo::apps
