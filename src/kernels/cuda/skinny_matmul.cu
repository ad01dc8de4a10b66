// Products of few rows with a weight matrix: what they take is reading the weights once. A warp computes two outputs of
// every row, all its lanes along the columns, sixteen bytes a load; the rows come from the first-level cache.
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

namespace dynamo::kernels::cuda {
namespace {

constexpr uint32_t kWarps = 4;
constexpr uint32_t kOutputs = 2;  // of a warp
constexpr uint32_t kMostRows = 8;

template <class Out, uint32_t kRows>
__global__ void __launch_bounds__(kWarps* kWarp) multiply(Rows x, Rows w, const float* bias, Rows out) {
  const uint32_t lane = threadIdx.x % kWarp;
  const uint32_t first = (blockIdx.x * kWarps + threadIdx.x / kWarp) * kOutputs;
  if (first >= w.rows) return;
  const auto* weights = static_cast<const __nv_bfloat16*>(w.data);
  const auto* rows = static_cast<const __nv_bfloat16*>(x.data);
  float sums[kOutputs][kRows] = {};
#pragma unroll 4
  for (uint32_t i = lane * 8; i < w.columns; i += kWarp * 8) {
    float weight[kOutputs][8];
#pragma unroll
    for (uint32_t o = 0; o < kOutputs; ++o) {
      const size_t row = min(first + o, w.rows - 1);
      unpack<__nv_bfloat16>(__ldcs(reinterpret_cast<const uint4*>(weights + row * w.stride + i)), weight[o]);
    }
#pragma unroll
    for (uint32_t r = 0; r < kRows; ++r) {
      float values[8];
      unpack<__nv_bfloat16>(*reinterpret_cast<const uint4*>(rows + r * x.stride + i), values);
#pragma unroll
      for (uint32_t o = 0; o < kOutputs; ++o) {
#pragma unroll
        for (uint32_t e = 0; e < 8; ++e) sums[o][r] += weight[o][e] * values[e];
      }
    }
  }
#pragma unroll
  for (uint32_t o = 0; o < kOutputs; ++o) {
#pragma unroll
    for (uint32_t r = 0; r < kRows; ++r) {
      const float sum = warp_sum(sums[o][r]);
      if (lane != 0 || first + o >= w.rows) continue;
      static_cast<Out*>(out.data)[r * out.stride + first + o] =
          from_float<Out>(sum + (bias != nullptr ? bias[first + o] : 0));
    }
  }
}

template <class Out>
void multiply_as(const Rows& x, const Rows& w, const float* bias, const Rows& out, cudaStream_t stream) {
  const uint32_t blocks = (w.rows + kWarps * kOutputs - 1) / (kWarps * kOutputs);
  constexpr uint32_t kThreads = kWarps * kWarp;
  switch (x.rows) {
    case 1:
      return multiply<Out, 1><<<blocks, kThreads, 0, stream>>>(x, w, bias, out);
    case 2:
      return multiply<Out, 2><<<blocks, kThreads, 0, stream>>>(x, w, bias, out);
    case 3:
      return multiply<Out, 3><<<blocks, kThreads, 0, stream>>>(x, w, bias, out);
    case 4:
      return multiply<Out, 4><<<blocks, kThreads, 0, stream>>>(x, w, bias, out);
    case 5:
      return multiply<Out, 5><<<blocks, kThreads, 0, stream>>>(x, w, bias, out);
    case 6:
      return multiply<Out, 6><<<blocks, kThreads, 0, stream>>>(x, w, bias, out);
    case 7:
      return multiply<Out, 7><<<blocks, kThreads, 0, stream>>>(x, w, bias, out);
    default:
      return multiply<Out, 8><<<blocks, kThreads, 0, stream>>>(x, w, bias, out);
  }
}

}  // namespace

bool can_be_skinny(const Rows& x, const Rows& w) {
  return x.rows <= kMostRows && w.columns % 8 == 0 && x.stride % 8 == 0 && w.stride % 8 == 0 &&
         reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && reinterpret_cast<uintptr_t>(w.data) % 16 == 0;
}

void skinny_matmul(Rows x, Rows w, const float* bias, Rows out, cudaStream_t stream) {
  if (out.dtype == DType::kF32) {
    multiply_as<float>(x, w, bias, out, stream);
  } else {
    multiply_as<__nv_bfloat16>(x, w, bias, out, stream);
  }
}

}  // namespace dynamo::kernels::cuda
