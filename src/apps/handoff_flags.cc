#include "apps/handoff_flags.h"

#include <glob.h>

#include <fstream>
#include <span>
#include <utility>

#include "apps/library_places.h"
#include "transfer/nixl/nixl_api.h"

namespace dynamo::apps {
namespace {

transfer::NixlLibrary nixl_library(const std::string& file) {
  return {.file = file, .prefixes = library_prefixes({"NIXL_PREFIX", "VIRTUAL_ENV", "CONDA_PREFIX"})};
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

}  // namespace

OptionSet options_of(HandoffFlags* flags) {
  using discovery::Role;
  OptionSet options;
  options.add("--disaggregation-mode",
              one_of(&flags->role, {Role::kAggregated, Role::kPrefill, Role::kDecode}, discovery::role_name),
              "aggregated, prefill or decode");
  options
      .add("--disaggregation-transfer-backend", one_of(&flags->backend, {"auto", "shm", "tcp", "nixl"}),
           "How KV blocks travel between prefill and decode workers: auto (shm on one host; nixl between hosts that "
           "both "
           "have RDMA and NIXL; else tcp), shm, tcp or nixl")
      .called("handoffs:");
  options.add("--nixl-lib", text(&flags->nixl_library),
              "Path of libnixl_capi.so; by default looked for in $NIXL_PREFIX and in the active Python's packages");
  return options;
}

std::optional<handoff::PartOptions> part_of(const HandoffFlags& flags, const PlaneFlags& planes,
                                            const worker::Whereabouts& whereabouts) {
  if (flags.role == discovery::Role::kAggregated) return std::nullopt;
  handoff::PartOptions part;
  part.backend = flags.backend.empty() ? "auto" : flags.backend;
  part.nixl = nixl_library(flags.nixl_library);
  part.has_rdma = has_rdma();
  part.host = whereabouts.handoff_host;
  part.listen_host = whereabouts.listen_host;
  part.identity = {planes.name_space, DYNAMO_VERSION, 0};
  return part;
}

}  // namespace dynamo::apps
