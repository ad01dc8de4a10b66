// Chooses the backend: the only place outside kernels/ that knows which there are.
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kernels/backend.h"

namespace dynamo::kernels {

enum class Device : uint8_t { kAuto, kCpu, kCuda };

// Sets of kernels for x86-64 processors.
enum class CpuLevel : uint8_t { kScalar, kAvx2, kAvx512 };

std::string_view cpu_level_name(CpuLevel level);  // "scalar", "avx2", "avx512"
std::optional<CpuLevel> parse_cpu_level(std::string_view name);
// Levels this machine can run, slowest first; kScalar is always there.
std::vector<CpuLevel> supported_cpu_levels();

struct BackendOptions {
  // kAuto: a GPU where there is one and the program can use GPUs, else the CPU.
  Device device = Device::kCpu;
  std::optional<CpuLevel> cpu_level = {};      // absent: the best this machine can run
  uint32_t threads = 0;                        // of a CPU; 0: one per core that this process may use.  [0, 1024]
  std::optional<kv::KvDtype> kv = {};          // absent: what suits the device
  uint32_t depth = 0;                          // steps under way; 0: what suits the device.  [0, 8]
  int gpu = 0;                                 // which of the visible ones
  std::vector<std::string> cuda_folders = {};  // where libcublasLt may be, before the loader is asked
};

// "auto", "cpu", "cuda" (the first GPU) or "cuda:N": into `device` and `gpu`. Errors: kInvalid.
Status parse_device(std::string_view name, BackendOptions* options);
std::string device_name(const BackendOptions& options);

// Errors: kUnsupported (the device, the level or the KV dtype, by name, with what is missing), kUnavailable (a GPU is
// there and cannot be used: its driver, a library, with the remedy).
Result<std::unique_ptr<Backend>> make_backend(const BackendOptions& options);

}  // namespace dynamo::kernels
