#include "transfer/host.h"

#include <sys/stat.h>

#include <fstream>

#include <fmt/format.h>

namespace dynamo::transfer {

std::string this_host() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat network = {};
  ::stat("/proc/self/ns/net", &network);
  return fmt::format("{}/{}", boot, network.st_ino);
}

}  // namespace dynamo::transfer
