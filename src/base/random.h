// A number that nobody can guess: for seeds, secrets and ids.
// Threads: any.  Cost: a system call or two.
#pragma once

#include <cstdint>
#include <random>

namespace dynamo {

inline uint64_t random_number() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace dynamo
