// Names out of untrusted files, made fit for an error message.
// Threads: pure functions.  Private to the module.
#pragma once

#include <string>
#include <string_view>

namespace dynamo::model {

// 'name' in quotes: printable ASCII and UTF-8 as they are, control characters as '?', at most 100 bytes.
std::string quote_name(std::string_view name);

}  // namespace dynamo::model
