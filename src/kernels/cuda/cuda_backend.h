// The CUDA backend: one NVIDIA GPU.
// Threads: as kernels::Backend.
#pragma once

#include <memory>

#include "base/status.h"
#include "kernels/backend.h"
#include "kernels/backend_factory.h"

namespace dynamo::kernels {

// Errors: kUnsupported (built without CUDA, no such GPU, a KV dtype that the kernels are not made for), kUnavailable (the
// GPU cannot be used: the driver is too old, the kernels are not made for it, cuBLASLt is missing; with the remedy).
Result<std::unique_ptr<Backend>> make_cuda_backend(const BackendOptions& options);

}  // namespace dynamo::kernels
