// Standard output of commands that answer once: docs, model, bench, ctl, chat.
#pragma once

#include <string_view>

namespace dynamo::apps {

// Writes `text` to standard output at once. If who reads it has gone, as `| head` does, the process ends quietly, with
// the status that shells give for SIGPIPE; if it cannot be written, with kFailed and why.
void print(std::string_view text);

}  // namespace dynamo::apps
