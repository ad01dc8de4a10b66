#include "apps/readiness.h"

#include <unistd.h>

namespace dynamo::apps {

void add_ready_option(int* fd, OptionSet* options) {
  options->add("--ready-fd", number(fd, 3, 1 << 20), "").without_variable().hidden();
}

void tell_ready(int fd, const std::string& name, const std::string& where) {
  if (fd == kNobodyAsked) return;
  const std::string line = name + ' ' + where + '\n';
  [[maybe_unused]] const ssize_t written = ::write(fd, line.data(), line.size());  // who asked may have gone since
}

}  // namespace dynamo::apps
