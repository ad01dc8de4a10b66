// What stands for the CUDA backend in a program that was built without it.
#include "kernels/cuda/cuda_backend.h"

namespace dynamo::kernels {

Result<std::unique_ptr<Backend>> make_cuda_backend(const BackendOptions&) {
  return unsupported("this program was built without CUDA; it computes on CPUs alone");
}

}  // namespace dynamo::kernels
