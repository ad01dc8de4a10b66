#include "kernels/backend_factory.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"

namespace dynamo::kernels {

Result<std::unique_ptr<Backend>> make_backend(const BackendOptions& options) {
  switch (options.device) {
    case Device::kCpu:
      return make_cpu_backend(options);
    case Device::kCuda:
      return make_cuda_backend(options);
  }
  return invalid("no such kind of device");
}

}  // namespace dynamo::kernels
