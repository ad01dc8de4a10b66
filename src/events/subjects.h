// Every subject of the event bus: its form, how it is built and read. `dynamo docs keys` prints docs/reference/keys.md
// from here.
// Requires, of all: a namespace is one part of a subject.  Threads: pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/name_form.h"

namespace dynamo::events {

inline constexpr NameForm kKvSubject{'.', "dynamo.<namespace>.kv.<instance>", "worker",
                                     "blocks that entered or left its KV cache, numbered"};
inline constexpr NameForm kLoadSubject{'.', "dynamo.<namespace>.load.<instance>", "worker", "how busy it is"};
inline constexpr NameForm kRoutersSubject{'.', "dynamo.<namespace>.router", "frontend",
                                          "what the routers of a namespace tell each other"};
inline constexpr std::array kAllSubjects = {&kKvSubject, &kLoadSubject, &kRoutersSubject};

// A worker's.
std::string kv_subject(std::string_view name_space, uint64_t instance);
std::string load_subject(std::string_view name_space, uint64_t instance);
// All workers': patterns to subscribe to.
std::string kv_subjects(std::string_view name_space);
std::string load_subjects(std::string_view name_space);

std::string routers_subject(std::string_view name_space);

// The instance that a worker's subject names; none if it is no worker's subject.
std::optional<uint64_t> publisher_of(std::string_view subject);

}  // namespace dynamo::events
