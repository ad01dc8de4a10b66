// cuBLASLt, found when it is needed: the library is too large to come with the program.
// Threads: one caller.
#pragma once

#include <cublasLt.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/status.h"
#include "kernels/cuda/launch.h"

namespace dynamo::kernels::cuda {

class CublasLt {
 public:
  // Looks for libcublasLt in `folders`, then where the loader looks.
  // Errors: kUnavailable (not found, or it fails to start: with where was looked and the remedy).
  static Result<std::unique_ptr<CublasLt>> open(const std::vector<std::string>& folders);
  CublasLt(const CublasLt&) = delete;
  ~CublasLt();

  // out = x w^T, for bf16 operands and bf16 or fp32 `out`. How to compute a shape is asked once and kept.
  // Errors: kUnavailable (no way to compute this shape, or the device failed).
  Status matmul(const Rows& x, const Rows& w, const Rows& out, cudaStream_t stream);

 private:
  struct Api {
    decltype(&cublasLtCreate) create;
    decltype(&cublasLtDestroy) destroy;
    decltype(&cublasLtMatmulDescCreate) desc_create;
    decltype(&cublasLtMatmulDescDestroy) desc_destroy;
    decltype(&cublasLtMatmulDescSetAttribute) desc_set;
    decltype(&cublasLtMatrixLayoutCreate) layout_create;
    decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
    decltype(&cublasLtMatmulPreferenceCreate) preference_create;
    decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
    decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
    decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
    decltype(&cublasLtMatmul) matmul;
  };
  // A shape's descriptors and the algorithm chosen.
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t w = nullptr;
    cublasLtMatrixLayout_t x = nullptr;
    cublasLtMatrixLayout_t out = nullptr;
    cublasLtMatmulAlgo_t algorithm = {};
  };
  // Rows, columns and outputs, strides, kind of out, and how well the addresses are aligned.
  using Shape = std::tuple<uint32_t, uint32_t, uint32_t, size_t, size_t, size_t, DType, uint32_t>;

  explicit CublasLt(Api api) : api_(api) {}
  Status start();
  Result<const Plan*> plan_of(const Rows& x, const Rows& w, const Rows& out);

  Api api_;
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<Shape, Plan> plans_;
};

}  // namespace dynamo::kernels::cuda
