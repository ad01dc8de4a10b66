// The backend for x86-64 processors.
//
// Three sets of kernels: scalar (the definition, any machine), AVX2 with FMA and F16C, and AVX-512 with VNNI and BF16.
// Weights are repacked once into tiles for the chosen set. Work is cut over a pool of threads that park when there is
// none, so that an idle server uses no CPU. Requires of the caller: as kernels/backend.h.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kernels/backend.h"

namespace dynamo::kernels {

enum class CpuLevel : uint8_t { kScalar, kAvx2, kAvx512 };

std::string_view cpu_level_name(CpuLevel level);  // "scalar", "avx2", "avx512"
std::optional<CpuLevel> parse_cpu_level(std::string_view name);
// Levels this machine can run, slowest first; kScalar is always there.
std::vector<CpuLevel> supported_cpu_levels();

struct CpuOptions {
  std::optional<CpuLevel> level;  // absent: the best this machine can run.  Flag: DYNAMO_CPU
  uint32_t threads = 0;           // 0: one per core that this process may use.  [0, 1024]  --threads
};

// Errors: kUnsupported (the machine cannot run `level`: names it and what is missing).
Result<std::unique_ptr<Backend>> make_cpu_backend(CpuOptions options);

}  // namespace dynamo::kernels
