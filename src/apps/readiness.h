// How a process tells who started it that it is ready, and by which name it goes: `--ready-fd N` names a descriptor
// that it inherited, and a line on that says so. Independent of the log: levels, forms and dropped lines change
// nothing.
#pragma once

#include <string>

#include "apps/options.h"

namespace dynamo::apps {

inline constexpr int kNobodyAsked = -1;

// Its option, which is not shown, since `serve` gives it to the processes that it starts.
void add_ready_option(int* fd, OptionSet* options);
// Writes one line: the name, which has no space, and where it is reached (a port, a URL; may be empty). The first says
// that the process is ready; a later one, that it goes by another name. Does nothing where nobody asked. Threads: any.
void tell_ready(int fd, const std::string& name, const std::string& where);

}  // namespace dynamo::apps
