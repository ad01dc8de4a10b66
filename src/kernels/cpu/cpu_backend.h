// The backend for x86-64 processors.
//
// Three sets of kernels: scalar (the definition, any machine), AVX2 with FMA and F16C, and AVX-512 with VNNI. Weights
// are repacked once. Work is cut over a pool of threads that park when there is none, so that an idle server uses no
// CPU. begin() computes the step; that more than one may be under way is for tests. Requires of the caller: as
// kernels/backend.h. Private to the module: others ask kernels/backend_factory.h.
#pragma once

#include <memory>

#include "base/status.h"
#include "kernels/backend_factory.h"

namespace dynamo::kernels {

// Errors: kUnsupported (the machine cannot run the level: names it and what is missing; a KV dtype but F16 and F32).
Result<std::unique_ptr<Backend>> make_cpu_backend(const BackendOptions& options);

}  // namespace dynamo::kernels
