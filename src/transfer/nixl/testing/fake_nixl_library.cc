// A stand-in for libnixl_capi.so: agents of one process that write into each other's pools by memcpy, and that fail as told.
//
// It is stricter than NIXL: what NIXL would take for granted or quietly do wrong counts as misuse. Like NIXL's it does nothing between
// calls: a transfer ends, and a notification leaves, when its sender asks for a status or for notifications.
//   fake_nixl_fail(what, times)  the next `times` calls fail (below 0: all), what = create_agent, plugin, create_backend, register,
//                                get_metadata, load, make, post, status (as when the peer is lost), finish (it stays in
//                                progress), notify. 0 ends it
//   fake_nixl_live_handles(), fake_nixl_misuses(), fake_nixl_loopback_backends()  how many, so far
// FAKE_NIXL_WITHOUT_GEN_NOTIF leaves that function out. Threads: one.
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "transfer/nixl/nixl_api.h"

namespace dynamo::transfer::nixl {

struct Descriptor {
  uintptr_t address;
  size_t bytes;
  uint64_t device;
  bool is_in(const Descriptor& other) const {
    return address >= other.address && bytes <= other.bytes && address - other.address <= other.bytes - bytes;
  }
};
struct Backend {};
struct Params {
  std::map<std::string, std::string> by_key;
};
struct MemoryList {};
struct OptionalArguments {
  Backend* backend = nullptr;
};
struct RegistrationList {
  int type;
  std::vector<Descriptor> descriptors;
};
struct TransferList {
  int type;
  std::vector<Descriptor> descriptors;
};
struct NotificationMap {
  std::map<std::string, std::vector<std::string>> by_agent;
};
struct Outgoing {
  std::string to;
  std::string text;
};
struct Agent {
  std::string name;
  std::vector<Descriptor> registered;
  std::set<std::string> loaded;
  std::vector<Outgoing> outgoing;
  std::map<std::string, std::vector<std::string>> arrived;
};
struct Request {
  int operation;
  std::string peer;
  std::vector<Descriptor> local;
  std::vector<Descriptor> remote;
  bool is_posted = false;
  bool is_released = false;
  int status = kSuccess;
};

namespace {

std::map<std::string, Agent*> agents;
std::map<std::string, int> failures;
int64_t live = 0;
int64_t misuses = 0;
int64_t loopback_backends = 0;

bool fails(const char* what) {
  const auto found = failures.find(what);
  if (found == failures.end() || found->second == 0) return false;
  if (found->second > 0) --found->second;
  return true;
}

int misused() {
  ++misuses;
  return kInvalidParam;
}

template <class T>
int make(T** handle, T value = {}) {
  *handle = new T(std::move(value));
  ++live;
  return kSuccess;
}
template <class T>
int destroy(T* handle) {
  if (handle == nullptr) return misused();
  delete handle;
  --live;
  return kSuccess;
}

bool covers(const Agent& agent, const std::vector<Descriptor>& wanted) {
  for (const Descriptor& one : wanted) {
    bool is_covered = false;
    for (const Descriptor& region : agent.registered) is_covered |= one.is_in(region);
    if (!is_covered) return false;
  }
  return true;
}

void send_outgoing(Agent* agent) {
  for (Outgoing& one : std::exchange(agent->outgoing, {})) {
    if (const auto peer = agents.find(one.to); peer != agents.end())
      peer->second->arrived[agent->name].push_back(std::move(one.text));
  }
}

void copy(const Request& request) {
  for (size_t i = 0; i < request.local.size(); ++i) {
    auto* local = reinterpret_cast<void*>(request.local[i].address);
    auto* remote = reinterpret_cast<void*>(request.remote[i].address);
    if (request.operation == kWrite) {
      std::memcpy(remote, local, request.local[i].bytes);
    } else {
      std::memcpy(local, remote, request.local[i].bytes);
    }
  }
}

}  // namespace
}  // namespace dynamo::transfer::nixl

using namespace dynamo::transfer::nixl;  // NOLINT: the functions below are the file's subject

extern "C" {

void fake_nixl_fail(const char* what, int times) {
  failures[what] = times;
}
int64_t fake_nixl_live_handles() {
  return live;
}
int64_t fake_nixl_misuses() {
  return misuses;
}
int64_t fake_nixl_loopback_backends() {
  return loopback_backends;
}

int nixl_capi_create_configured_agent(const char* name, const AgentConfig*, Agent** agent) {
  if (fails("create_agent")) return kBackend;
  if (agents.contains(name)) return misused();
  make(agent, {.name = name, .registered = {}, .loaded = {}, .outgoing = {}, .arrived = {}});
  agents[name] = *agent;
  return kSuccess;
}
int nixl_capi_destroy_agent(Agent* agent) {
  if (!agent->registered.empty()) misused();
  agents.erase(agent->name);
  return destroy(agent);
}
int nixl_capi_get_plugin_params(Agent*, const char* plugin, MemoryList** memories, Params** params) {
  if (fails("plugin") || std::strcmp(plugin, "UCX") != 0) return kMissing;
  make(memories);
  return make(params);
}
int nixl_capi_destroy_mem_list(MemoryList* memories) {
  return destroy(memories);
}
int nixl_capi_params_add(Params* params, const char* key, const char* value) {
  params->by_key[key] = value;
  return kSuccess;
}
int nixl_capi_destroy_params(Params* params) {
  return destroy(params);
}
int nixl_capi_create_backend(Agent*, const char*, Params* params, Backend** backend) {
  if (params == nullptr) return misused();
  if (fails("create_backend")) return kBackend;
  if (params->by_key["engine_config"] == "NET_DEVICES=lo") ++loopback_backends;
  return make(backend);
}
int nixl_capi_destroy_backend(Backend* backend) {
  return destroy(backend);
}
int nixl_capi_create_opt_args(OptionalArguments** arguments) {
  return make(arguments);
}
int nixl_capi_destroy_opt_args(OptionalArguments* arguments) {
  return destroy(arguments);
}
int nixl_capi_opt_args_add_backend(OptionalArguments* arguments, Backend* backend) {
  arguments->backend = backend;
  return kSuccess;
}

int nixl_capi_create_reg_dlist(int type, RegistrationList** list) {
  return make(list, {type, {}});
}
int nixl_capi_destroy_reg_dlist(RegistrationList* list) {
  return destroy(list);
}
int nixl_capi_reg_dlist_add_desc(RegistrationList* list, uintptr_t address, size_t bytes, uint64_t device, const void*,
                                 size_t) {
  list->descriptors.push_back({address, bytes, device});
  return kSuccess;
}
int nixl_capi_register_mem(Agent* agent, RegistrationList* list, OptionalArguments*) {
  if (fails("register")) return kBackend;
  for (const Descriptor& one : list->descriptors) agent->registered.push_back(one);
  return kSuccess;
}
int nixl_capi_deregister_mem(Agent* agent, RegistrationList* list, OptionalArguments*) {
  for (const Descriptor& one : list->descriptors) {
    const auto erased = std::erase_if(agent->registered, [&one](const Descriptor& other) {
      return other.address == one.address && other.bytes == one.bytes;
    });
    if (erased == 0) return misused();
  }
  return kSuccess;
}

int nixl_capi_get_local_md(Agent* agent, void** data, size_t* bytes) {
  if (fails("get_metadata")) return kBackend;
  *bytes = agent->name.size();
  *data = std::malloc(*bytes);
  std::memcpy(*data, agent->name.data(), *bytes);
  ++live;
  return kSuccess;
}
void nixl_capi_mem_free(void* data) {
  std::free(data);
  --live;
}
int nixl_capi_load_remote_md(Agent* agent, const void* data, size_t bytes, char** name) {
  const std::string remote(static_cast<const char*>(data), bytes);
  if (fails("load")) return kBackend;
  if (remote == agent->name) return misused();
  agent->loaded.insert(remote);
  *name = strdup(remote.c_str());
  return kSuccess;
}
int nixl_capi_invalidate_remote_md(Agent* agent, const char* name) {
  return agent->loaded.erase(name) == 1 ? kSuccess : misused();
}

int nixl_capi_create_xfer_dlist(int type, TransferList** list) {
  return make(list, {type, {}});
}
int nixl_capi_destroy_xfer_dlist(TransferList* list) {
  return destroy(list);
}
int nixl_capi_xfer_dlist_add_desc(TransferList* list, uintptr_t address, size_t bytes, uint64_t device) {
  list->descriptors.push_back({address, bytes, device});
  return kSuccess;
}

int nixl_capi_create_xfer_req(Agent* agent, int operation, TransferList* local, TransferList* remote, const char* peer,
                              Request** request, OptionalArguments*) {
  if (fails("make")) return kBackend;
  if (!agent->loaded.contains(peer)) return kMissing;
  if (local->descriptors.size() != remote->descriptors.size() || !covers(*agent, local->descriptors)) return misused();
  for (size_t i = 0; i < local->descriptors.size(); ++i) {
    if (local->descriptors[i].bytes != remote->descriptors[i].bytes) return misused();
  }
  const auto target = agents.find(peer);
  if (target != agents.end() && !covers(*target->second, remote->descriptors)) return misused();
  Request made{.operation = operation, .peer = peer, .local = local->descriptors, .remote = remote->descriptors};
  return make(request, std::move(made));
}
int nixl_capi_post_xfer_req(Agent*, Request* request, OptionalArguments* arguments) {
  if (arguments != nullptr || request->is_posted) return misused();  // NIXL would forget the request's notification
  if (fails("post")) return kBackend;
  request->is_posted = true;
  request->status = kInProgress;
  return kInProgress;
}
int nixl_capi_get_xfer_status(Agent* agent, Request* request) {
  send_outgoing(agent);
  if (!agent->loaded.contains(request->peer)) return misused();  // NIXL would free the request
  if (request->status != kInProgress || fails("finish")) return request->status;
  const bool is_lost = fails("status") || !agents.contains(request->peer);
  if (!is_lost) copy(*request);
  return request->status = is_lost ? kBackend : kSuccess;
}
int nixl_capi_release_xfer_req(Agent*, Request* request) {
  if (request->is_released) return misused();
  request->is_released = true;
  return kSuccess;
}
int nixl_capi_destroy_xfer_req(Request* request) {
  if (!request->is_released) {
    misused();
    return kInvalidState;
  }
  return destroy(request);
}

#ifndef FAKE_NIXL_WITHOUT_GEN_NOTIF
int nixl_capi_gen_notif(Agent* agent, const char* peer, const void* data, size_t bytes, OptionalArguments*) {
  if (bytes == 0 || !agent->loaded.contains(peer)) return misused();
  if (fails("notify")) return kBackend;
  agent->outgoing.push_back({peer, std::string(static_cast<const char*>(data), bytes)});
  return kSuccess;
}
#endif
int nixl_capi_create_notif_map(NotificationMap** map) {
  return make(map);
}
int nixl_capi_destroy_notif_map(NotificationMap* map) {
  return destroy(map);
}
int nixl_capi_get_notifs(Agent* agent, NotificationMap* map, OptionalArguments*) {
  send_outgoing(agent);
  for (auto& [name, texts] : std::exchange(agent->arrived, {})) {
    for (std::string& text : texts) map->by_agent[name].push_back(std::move(text));
  }
  return kSuccess;
}
int nixl_capi_notif_map_size(NotificationMap* map, size_t* count) {
  *count = map->by_agent.size();
  return kSuccess;
}
int nixl_capi_notif_map_get_agent_at(NotificationMap* map, size_t index, const char** name) {
  *name = std::next(map->by_agent.begin(), static_cast<ptrdiff_t>(index))->first.c_str();
  return kSuccess;
}
int nixl_capi_notif_map_get_notifs_size(NotificationMap* map, const char* name, size_t* count) {
  *count = map->by_agent.at(name).size();
  return kSuccess;
}
int nixl_capi_notif_map_get_notif(NotificationMap* map, const char* name, size_t index, const void** data,
                                  size_t* bytes) {
  const std::string& text = map->by_agent.at(name).at(index);
  *data = text.data();
  *bytes = text.size();
  return kSuccess;
}
int nixl_capi_notif_map_clear(NotificationMap* map) {
  map->by_agent.clear();
  return kSuccess;
}

}  // extern "C"
