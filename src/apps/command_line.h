// Reads a command line into the options of the command that it names; what --help shows. All that knows of CLI11.
// Threads: one, before any other starts.
#pragma once

#include <string>

#include "apps/command.h"

namespace dynamo::apps {

// Gives the options of `program` and of the command that is named their values, from flags and variables.
// Returns: that command; or null, after printing what was asked for (--help, --version) or what is wrong, and the exit
// status in `status`.
const Command* read_command_line(const Command& program, int argc, char** argv, int* status);

// docs/reference/flags.md without its head: what --help shows of the program and of each command.
std::string help_pages(const Command& program);

}  // namespace dynamo::apps
