// The CUDA backend: one NVIDIA GPU.
// Threads: as kernels::Backend.
#pragma once

#include <memory>

#include "base/status.h"
#include "kernels/backend.h"
#include "kernels/backend_factory.h"

namespace dynamo::kernels {

// Errors: kUnsupported (built without CUDA, a driver too old, a GPU or a KV dtype that the kernels are not made for),
// kUnavailable (no GPU, no cuBLASLt).
Result<std::unique_ptr<Backend>> make_cuda_backend(const BackendOptions& options);

}  // namespace dynamo::kernels
