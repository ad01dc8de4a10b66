#include "kernels/cuda/cublaslt.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace dynamo::kernels::cuda {
namespace {

constexpr size_t kWorkspace = size_t{32} << 20;
constexpr const char* kLibrary = "libcublasLt.so.13";

// The alignment of all three addresses, up to what kernels make use of.
uint32_t alignment_of(const Rows& x, const Rows& w, const Rows& out) {
  const auto bits = reinterpret_cast<uintptr_t>(x.data) | reinterpret_cast<uintptr_t>(w.data) |
                    reinterpret_cast<uintptr_t>(out.data) | 256;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

Status said(const char* what, cublasStatus_t status) {
  return unavailable(fmt::format("cuBLASLt: {} failed with status {}", what, static_cast<int>(status)));
}

}  // namespace

Result<std::unique_ptr<CublasLt>> CublasLt::open(const std::vector<std::string>& folders) {
  void* library = nullptr;
  std::string why;
  std::vector<std::string> paths;
  for (const std::string& folder : folders) paths.push_back(folder + "/" + kLibrary);
  paths.emplace_back(kLibrary);
  for (const std::string& path : paths) {
    library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    why = ::dlerror();
  }
  if (library == nullptr) {
    return unavailable(
        fmt::format("{} is needed for CUDA and was found in none of [{}] ({}); install the Python wheel "
                    "nvidia-cublas or the CUDA toolkit, or name its folder",
                    kLibrary, fmt::join(paths, ", "), why));
  }
  // Never closed: the runtime keeps state of the library's kernels to the end.
  Api api = {};
  const auto load = [&](auto* function, const char* name) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(::dlsym(library, name));
    return *function != nullptr;
  };
  if (!load(&api.create, "cublasLtCreate") || !load(&api.destroy, "cublasLtDestroy") ||
      !load(&api.desc_create, "cublasLtMatmulDescCreate") || !load(&api.desc_destroy, "cublasLtMatmulDescDestroy") ||
      !load(&api.desc_set, "cublasLtMatmulDescSetAttribute") ||
      !load(&api.layout_create, "cublasLtMatrixLayoutCreate") ||
      !load(&api.layout_destroy, "cublasLtMatrixLayoutDestroy") ||
      !load(&api.preference_create, "cublasLtMatmulPreferenceCreate") ||
      !load(&api.preference_destroy, "cublasLtMatmulPreferenceDestroy") ||
      !load(&api.preference_set, "cublasLtMatmulPreferenceSetAttribute") ||
      !load(&api.heuristic, "cublasLtMatmulAlgoGetHeuristic") || !load(&api.matmul, "cublasLtMatmul")) {
    return unavailable(fmt::format("{} lacks a function: {}", kLibrary, ::dlerror()));
  }
  std::unique_ptr<CublasLt> made(new CublasLt(api));
  TRY_STATUS(made->start());
  return made;
}

Status CublasLt::start() {
  if (const cublasStatus_t status = api_.create(&handle_); status != CUBLAS_STATUS_SUCCESS) {
    return said("start", status);
  }
  if (::cudaMalloc(&workspace_, kWorkspace) != cudaSuccess)
    return exhausted("no device memory for cuBLASLt's workspace");
  return {};
}

CublasLt::~CublasLt() {
  for (auto& [shape, plan] : plans_) {
    api_.desc_destroy(plan.operation);
    for (const auto layout : {plan.w, plan.x, plan.out}) api_.layout_destroy(layout);
  }
  if (workspace_ != nullptr) ::cudaFree(workspace_);
  if (handle_ != nullptr) api_.destroy(handle_);
}

// The library counts columns first: what we call out = x w^T it sees as out^T = w x^T.
Result<const CublasLt::Plan*> CublasLt::plan_of(const Rows& x, const Rows& w, const Rows& out) {
  const uint32_t alignment = alignment_of(x, w, out);
  const Shape shape{x.rows, x.columns, w.rows, x.stride, w.stride, out.stride, out.dtype, alignment};
  if (const auto found = plans_.find(shape); found != plans_.end()) return &found->second;
  Plan plan;
  const cudaDataType_t kind = out.dtype == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF;
  const cublasOperation_t transposed = CUBLAS_OP_T;
  if (api_.desc_create(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F) != CUBLAS_STATUS_SUCCESS ||
      api_.desc_set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)) !=
          CUBLAS_STATUS_SUCCESS ||
      api_.layout_create(&plan.w, CUDA_R_16BF, w.columns, w.rows, static_cast<int64_t>(w.stride)) !=
          CUBLAS_STATUS_SUCCESS ||
      api_.layout_create(&plan.x, CUDA_R_16BF, x.columns, x.rows, static_cast<int64_t>(x.stride)) !=
          CUBLAS_STATUS_SUCCESS ||
      api_.layout_create(&plan.out, kind, w.rows, x.rows, static_cast<int64_t>(out.stride)) != CUBLAS_STATUS_SUCCESS) {
    return unavailable("cuBLASLt: no descriptors");
  }
  cublasLtMatmulPreference_t preference = nullptr;
  api_.preference_create(&preference);
  api_.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspace, sizeof(kWorkspace));
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    api_.preference_set(preference, attribute, &alignment, sizeof(alignment));
  }
  cublasLtMatmulHeuristicResult_t result = {};
  int count = 0;
  const cublasStatus_t status =
      api_.heuristic(handle_, plan.operation, plan.w, plan.x, plan.out, plan.out, preference, 1, &result, &count);
  api_.preference_destroy(preference);
  if (status != CUBLAS_STATUS_SUCCESS || count == 0) {
    return unavailable(fmt::format("cuBLASLt knows no way to multiply [{}][{}] by [{}][{}]: status {}", x.rows,
                                   x.columns, w.rows, w.columns, static_cast<int>(status)));
  }
  plan.algorithm = result.algo;
  return &plans_.emplace(shape, plan).first->second;
}

Status CublasLt::matmul(const Rows& x, const Rows& w, const Rows& out, cudaStream_t stream) {
  TRY(const Plan* plan, plan_of(x, w, out));
  const float one = 1;
  const float zero = 0;
  const cublasStatus_t status =
      api_.matmul(handle_, plan->operation, &one, w.data, plan->w, x.data, plan->x, &zero, out.data, plan->out,
                  out.data, plan->out, &plan->algorithm, workspace_, kWorkspace, stream);
  return status == CUBLAS_STATUS_SUCCESS ? Status() : said("matmul", status);
}

}  // namespace dynamo::kernels::cuda
