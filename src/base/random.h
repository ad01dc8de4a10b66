// Bits that nobody can guess.  Threads: any.
#pragma once

#include <cstdint>
#include <random>

namespace dynamo {

// From the system's source, each call anew: for ids, secrets and seeds.
inline uint64_t random_bits() {
  std::random_device source;
  return uint64_t{source()} << 32 | source();
}

}  // namespace dynamo
