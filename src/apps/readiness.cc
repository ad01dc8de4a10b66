#include "apps/readiness.h"

#include <unistd.h>

namespace dynamo::apps {

void declare_ready_flag(CLI::App* command, int* fd) {
  command->add_option("--ready-fd", *fd)->check(CLI::Range(3, 1 << 20))->group("");
}

void tell_ready(int fd, std::string what) {
  if (fd == kNobodyAsked) return;
  what += '\n';
  [[maybe_unused]] const ssize_t written = ::write(fd, what.data(), what.size());  // who asked may have gone since
  ::close(fd);
}

}  // namespace dynamo::apps
