#include "kernels/backend_factory.h"

#include "kernels/cpu/cpu_backend.h"

namespace dynamo::kernels {

Result<std::unique_ptr<Backend>> make_backend(const BackendOptions& options) {
  switch (options.device) {
    case Device::kCpu:
      return make_cpu_backend(options);
    case Device::kCuda:
      return unsupported("this program was built without CUDA; it computes on CPUs alone");
  }
  return invalid("no such kind of device");
}

}  // namespace dynamo::kernels
