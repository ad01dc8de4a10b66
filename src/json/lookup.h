// Looks into a reply whose parts may be missing or of another type, where that is no error: servers differ.
// Paths are JSON Pointers (RFC 6901), "/choices/0/delta/content".  Threads: pure functions.
#pragma once

#include <cstdint>
#include <string_view>

#include "json/types.h"

namespace dynamo::json {

// Null if the path leads nowhere.
const value* find(const value& from, std::string_view path);
// The same; empty or 0 if there is nothing, or something else.
std::string_view find_text(const value& from, std::string_view path);
uint64_t find_count(const value& from, std::string_view path);

}  // namespace dynamo::json
