// How a process tells who started it that it is ready: `--ready-fd N` names a descriptor that it inherited, and one line on that
// says so. Independent of the log: levels, forms and dropped lines change nothing.
#pragma once

#include <string>

#include "apps/options.h"

namespace dynamo::apps {

inline constexpr int kNobodyAsked = -1;

// Its option, which is not shown, since `serve` gives it to the processes that it starts.
void add_ready_option(int* fd, OptionSet* options);
// Writes `what` (a port, a name, a URL) and the line's end, and closes the descriptor. Does nothing where nobody asked.
void tell_ready(int fd, std::string what);

}  // namespace dynamo::apps
