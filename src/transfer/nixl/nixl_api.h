// NIXL's C API as far as the backend "nixl" needs it, found and loaded while the program runs.
//
// NIXL ships no header with its wheel, so these declarations are ours; they hold for 1.x. The library stays loaded until the program
// ends, because UCX, which it brings along, does not bear to be unloaded.
// Threads: loading, one; the table is a value.  Source: docs/transfer.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "transfer/kv_transport.h"

namespace dynamo::transfer::nixl {

// NIXL folds most of its own codes into kBackend: a lost peer and a broken device look alike.
enum StatusCode : int {
  kSuccess = 0,
  kInProgress = 1,
  kInvalidParam = -1,
  kBackend = -2,
  kInvalidState = -3,
  kException = -4,
  kNoTelemetry = -5,
  kMissing = -6,
};
// "NIXL answered 'backend' (-2)"
std::string say_code(int code);

enum MemoryType : int { kDram = 0, kVram = 1 };
enum Operation : int { kRead = 0, kWrite = 1 };

struct Agent;
struct Backend;
struct Params;
struct MemoryList;
struct OptionalArguments;
struct RegistrationList;
struct TransferList;
struct Request;
struct NotificationMap;

// How an agent is configured. The layout differs between 1.x versions; all zero means the same in each of them: no thread of NIXL's,
// no locks, no listener.
struct AgentConfig {
  alignas(8) std::byte zero[128] = {};
};

// The functions of libnixl_capi.so, each named there nixl_capi_NAME.
struct Api {
  int (*create_configured_agent)(const char* name, const AgentConfig* config, Agent** agent);
  int (*destroy_agent)(Agent* agent);
  int (*get_plugin_params)(Agent* agent, const char* plugin, MemoryList** memories, Params** params);
  int (*destroy_mem_list)(MemoryList* memories);
  int (*params_add)(Params* params, const char* key, const char* value);
  int (*destroy_params)(Params* params);
  int (*create_backend)(Agent* agent, const char* plugin, Params* params, Backend** backend);
  int (*destroy_backend)(Backend* backend);  // frees the handle only
  int (*create_opt_args)(OptionalArguments** arguments);
  int (*destroy_opt_args)(OptionalArguments* arguments);
  int (*opt_args_add_backend)(OptionalArguments* arguments, Backend* backend);

  int (*create_reg_dlist)(int memory_type, RegistrationList** list);
  int (*destroy_reg_dlist)(RegistrationList* list);
  int (*reg_dlist_add_desc)(RegistrationList* list, uintptr_t address, size_t bytes, uint64_t device,
                            const void* metadata, size_t metadata_bytes);
  int (*register_mem)(Agent* agent, RegistrationList* list, OptionalArguments* arguments);
  int (*deregister_mem)(Agent* agent, RegistrationList* list, OptionalArguments* arguments);

  int (*get_local_md)(Agent* agent, void** data, size_t* bytes);                     // *data: free_metadata()
  int (*load_remote_md)(Agent* agent, const void* data, size_t bytes, char** name);  // *name: free()
  int (*invalidate_remote_md)(Agent* agent, const char* name);

  int (*create_xfer_dlist)(int memory_type, TransferList** list);
  int (*destroy_xfer_dlist)(TransferList* list);
  int (*xfer_dlist_add_desc)(TransferList* list, uintptr_t address, size_t bytes, uint64_t device);

  int (*create_xfer_req)(Agent* agent, int operation, TransferList* local, TransferList* remote,
                         const char* remote_name, Request** request, OptionalArguments* arguments);
  int (*post_xfer_req)(Agent* agent, Request* request, OptionalArguments* arguments);
  int (*get_xfer_status)(Agent* agent, Request* request);
  int (*release_xfer_req)(Agent* agent, Request* request);  // ends it
  int (*destroy_xfer_req)(Request* request);                // frees the handle; refused before release_xfer_req()

  int (*gen_notif)(Agent* agent, const char* remote_name, const void* data, size_t bytes, OptionalArguments* arguments);
  int (*create_notif_map)(NotificationMap** map);
  int (*destroy_notif_map)(NotificationMap* map);
  int (*get_notifs)(Agent* agent, NotificationMap* map, OptionalArguments* arguments);  // adds to what the map holds
  int (*notif_map_size)(NotificationMap* map, size_t* agents);
  int (*notif_map_get_agent_at)(NotificationMap* map, size_t index, const char** name);
  int (*notif_map_get_notifs_size)(NotificationMap* map, const char* name, size_t* notifications);
  int (*notif_map_get_notif)(NotificationMap* map, const char* name, size_t index, const void** data, size_t* bytes);
  int (*notif_map_clear)(NotificationMap* map);

  void (*free_metadata)(void* data);  // nixl_capi_mem_free where the library has it, else free()
  std::string path;                   // of the file that was loaded
};

// The files that load() tries, in order: `library.file` alone if it is not empty; else below each prefix lib, lib64 and Debian's folders
// of libraries, and the wheels nixl-cu13 and nixl-cu12 of its Pythons; last the bare name, for the loader.
std::vector<std::string> candidates(const NixlLibrary& library);

// Errors: kNotFound (nowhere; what was looked at is listed), kUnavailable (found, but it cannot be loaded), kUnsupported (it lacks a
// function, which is named).
Result<Api> load(const NixlLibrary& library);

// The prefixes of the Pythons in `path`, as $PATH is written, for NixlLibrary. None of them is run.
std::vector<std::string> python_prefixes(std::string_view path);

}  // namespace dynamo::transfer::nixl
