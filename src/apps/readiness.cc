#include "apps/readiness.h"

#include <unistd.h>

namespace dynamo::apps {

void add_ready_option(int* fd, OptionSet* options) {
  options->add("--ready-fd", number(fd, kNobodyAsked, 1 << 20), "").without_variable().hidden();
}

void tell_ready(int fd, std::string what) {
  if (fd == kNobodyAsked) return;
  what += '\n';
  [[maybe_unused]] const ssize_t written = ::write(fd, what.data(), what.size());  // who asked may have gone since
  ::close(fd);
}

}  // namespace dynamo::apps
