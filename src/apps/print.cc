#include "apps/print.h"

#include <signal.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "apps/command.h"
#include "base/log_output.h"

namespace dynamo::apps {

void print(std::string_view text) {
  log::flush();  // a progress bar stands above what came of it
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  if (errno == EPIPE) std::_Exit(128 + SIGPIPE);
  std::fprintf(stderr, "dynamo: standard output: %s\n", std::strerror(errno));
  std::_Exit(kFailed);
}

}  // namespace dynamo::apps
