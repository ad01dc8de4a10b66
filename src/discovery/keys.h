// Every key of the registry: its form, how it is built and read. `dynamo docs keys` prints docs/reference/keys.md from
// here.
// Requires, of all: a namespace, role or model is not empty; a namespace holds no slash.  Threads: pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/name_form.h"
#include "discovery/instance.h"

namespace dynamo::discovery {

inline constexpr std::string_view kKeysPrefix = "/dynamo/";  // of all of them

inline constexpr NameForm kWorkerKey{
    '/', "/dynamo/workers/<namespace>/<role>/<instance>", "worker",
    "what it is ([discovery.md](discovery.md)); role is `aggregated`, `prefill` or `decode`, instance its id"};
inline constexpr NameForm kNameKey{
    '/', "/dynamo/names/<namespace>/<role>/<n>", "worker",
    "id of the instance that holds name n: `worker-n`, `prefill-worker-n`, `decode-worker-n`"};
inline constexpr NameForm kRoleTurnKey{
    '/', "/dynamo/roles/<namespace>/<model slug>", "worker",
    "id of the instance that is about to say that it answers no more for the model; for moments only"};
inline constexpr NameForm kFrontendKey{
    '/', "/dynamo/frontends/<namespace>/<instance>", "frontend",
    "`namespace`, `version` and, where others can reach it, `url`; instance is its id"};
inline constexpr NameForm kConfigKey{'/', "/dynamo/config/<model slug>", "people",
                                     "live settings of a model's routers ([routing.md](routing.md))"};
inline constexpr std::array kAllKeys = {&kWorkerKey, &kNameKey, &kRoleTurnKey, &kFrontendKey, &kConfigKey};

std::string workers_prefix(std::string_view name_space);
std::string worker_key(std::string_view name_space, const WorkerInstance& worker);

std::string names_prefix(std::string_view name_space, Role role);
std::string name_key(std::string_view name_space, Role role, uint32_t number);

std::string role_turn_key(std::string_view name_space, std::string_view model);

std::string frontend_key(std::string_view name_space, uint64_t instance);

std::string config_prefix();
std::string config_key(std::string_view model);
// The slug of the model whose settings the key holds; none if it is another key.
std::optional<std::string> slug_of_config_key(std::string_view key);

// A model's name as part of a key: "Qwen/Qwen3-0.6B" is "qwen--qwen3-0-6b". Different names may share a slug; values
// hold the name.
std::string slug_of(std::string_view model);

}  // namespace dynamo::discovery
