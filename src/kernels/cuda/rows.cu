// What works on rows alone: conversion, embedding, gathering, norms, activation, bias.
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

namespace dynamo::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 256;

// Weight `i` of a row in a file's format (kernels/dtype.h).
template <DType kFormat>
__device__ float weight_at(const uint8_t* row, size_t i) {
  const auto half_at = [](const uint8_t* at) {
    return __half2float(__ushort_as_half(static_cast<uint16_t>(at[0] | at[1] << 8)));
  };
  if constexpr (kFormat == DType::kF32) {
    const uint8_t* at = row + 4 * i;
    return __uint_as_float(at[0] | at[1] << 8 | at[2] << 16 | static_cast<uint32_t>(at[3]) << 24);
  } else if constexpr (kFormat == DType::kF16) {
    return half_at(row + 2 * i);
  } else if constexpr (kFormat == DType::kBF16) {
    return __uint_as_float(static_cast<uint32_t>(row[2 * i] | row[2 * i + 1] << 8) << 16);
  } else {
    const uint8_t* block = row + i / 32 * block_bytes(kFormat);
    const uint32_t at = i % 32;
    const float scale = half_at(block);
    if constexpr (kFormat == DType::kQ8_0) {
      return scale * static_cast<int8_t>(block[2 + at]);
    } else {
      const uint8_t* codes = block + (kFormat == DType::kQ4_1 ? 4 : 2);
      const int code = at < 16 ? codes[at] & 15 : codes[at - 16] >> 4;
      return kFormat == DType::kQ4_0 ? scale * static_cast<float>(code - 8)
                                     : scale * static_cast<float>(code) + half_at(block + 2);
    }
  }
}

template <DType kFormat, class Out>
__global__ void convert(const uint8_t* from, size_t row_bytes, uint32_t columns, Out* to, size_t stride) {
  const uint8_t* row = from + blockIdx.y * row_bytes;
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < columns) to[blockIdx.y * stride + i] = from_float<Out>(weight_at<kFormat>(row, i));
}

template <DType kFormat>
void convert_as(const void* from, const Rows& to, cudaStream_t stream) {
  const dim3 grid((to.columns + kThreads - 1) / kThreads, to.rows);
  const auto* bytes = static_cast<const uint8_t*>(from);
  const size_t of_row = row_bytes(kFormat, to.columns);
  if (to.dtype == DType::kF32) {
    convert<kFormat><<<grid, kThreads, 0, stream>>>(bytes, of_row, to.columns, static_cast<float*>(to.data), to.stride);
  } else {
    convert<kFormat>
        <<<grid, kThreads, 0, stream>>>(bytes, of_row, to.columns, static_cast<__nv_bfloat16*>(to.data), to.stride);
  }
}

__global__ void embed_rows(const __nv_bfloat16* table, size_t table_stride, StepTables step, Seats seats,
                           __nv_bfloat16* out, size_t stride, uint32_t columns) {
  const uint32_t row = blockIdx.x;
  uint32_t token = step.tokens[row];
  if (token == ~0U) token = seats.last[step.sequences[step.sequence_of[row]].seat];
  for (uint32_t i = threadIdx.x; i < columns; i += blockDim.x) out[row * stride + i] = table[token * table_stride + i];
}

__global__ void gather_rows(StepTables step, const __nv_bfloat16* x, size_t x_stride, __nv_bfloat16* out, size_t stride,
                            uint32_t columns) {
  const uint32_t from = step.draws[blockIdx.x].row;
  for (uint32_t i = threadIdx.x; i < columns; i += blockDim.x) out[blockIdx.x * stride + i] = x[from * x_stride + i];
}

// One block a row; eight numbers a load where rows allow it. kAdds: `x` is added to `residual` first, which is what is
// normed then.
template <bool kAdds, bool kWide>
__global__ void norm_rows(const __nv_bfloat16* x, size_t x_stride, __nv_bfloat16* residual, size_t residual_stride,
                          const float* weight, float epsilon, __nv_bfloat16* out, size_t out_stride, uint32_t columns) {
  __shared__ float scratch[kWarp];
  const size_t row = blockIdx.x;
  constexpr uint32_t kStep = kWide ? 8 : 1;
  const auto load = [&](const __nv_bfloat16* from, uint32_t i, float(&values)[8]) {
    if constexpr (kWide) {
      unpack<__nv_bfloat16>(*reinterpret_cast<const uint4*>(from + i), values);
    } else {
      values[0] = to_float(from[i]);
    }
  };
  const auto store = [&](__nv_bfloat16* to, uint32_t i, const float(&values)[8]) {
    if constexpr (kWide) {
      *reinterpret_cast<uint4*>(to + i) = pack<__nv_bfloat16>(values);
    } else {
      to[i] = from_float<__nv_bfloat16>(values[0]);
    }
  };
  const __nv_bfloat16* normed = kAdds ? residual + row * residual_stride : x + row * x_stride;
  float squares = 0;
  for (uint32_t i = threadIdx.x * kStep; i < columns; i += blockDim.x * kStep) {
    float values[8];
    load(x + row * x_stride, i, values);
    if constexpr (kAdds) {
      float sums[8];
      load(normed, i, sums);
#pragma unroll
      for (uint32_t e = 0; e < kStep; ++e) {
        values[e] += sums[e];
        values[e] = to_float(from_float<__nv_bfloat16>(values[e]));  // what is kept is what is normed
      }
      store(residual + row * residual_stride, i, values);
    }
#pragma unroll
    for (uint32_t e = 0; e < kStep; ++e) squares += values[e] * values[e];
  }
  const float scale = rsqrtf(block_sum(squares, scratch) / static_cast<float>(columns) + epsilon);
  for (uint32_t i = threadIdx.x * kStep; i < columns; i += blockDim.x * kStep) {
    float values[8];
    load(normed, i, values);
#pragma unroll
    for (uint32_t e = 0; e < kStep; ++e) values[e] *= scale * weight[i + e];
    store(out + row * out_stride, i, values);
  }
}

bool is_wide(const Rows& x) {
  return x.columns % 8 == 0 && x.stride % 8 == 0 && reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
}

uint32_t threads_for(uint32_t columns, bool wide) {
  const uint32_t items = wide ? columns / 8 : columns;
  return min(1024U, max(kWarp, (items + kWarp - 1) / kWarp * kWarp));
}

__global__ void silu_rows(const __nv_bfloat16* gate_up, size_t from_stride, __nv_bfloat16* out, size_t stride,
                          uint32_t columns) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= columns) return;
  const float gate = to_float(gate_up[blockIdx.y * from_stride + i]);
  const float up = to_float(gate_up[blockIdx.y * from_stride + columns + i]);
  out[blockIdx.y * stride + i] = from_float<__nv_bfloat16>(gate / (1 + __expf(-gate)) * up);
}

__global__ void silu_wide(const __nv_bfloat16* gate_up, size_t from_stride, __nv_bfloat16* out, size_t stride,
                          uint32_t columns) {
  const uint32_t i = (blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (i >= columns) return;
  float gate[8];
  float up[8];
  unpack<__nv_bfloat16>(*reinterpret_cast<const uint4*>(gate_up + blockIdx.y * from_stride + i), gate);
  unpack<__nv_bfloat16>(*reinterpret_cast<const uint4*>(gate_up + blockIdx.y * from_stride + columns + i), up);
#pragma unroll
  for (int e = 0; e < 8; ++e) gate[e] = gate[e] / (1 + __expf(-gate[e])) * up[e];
  *reinterpret_cast<uint4*>(out + blockIdx.y * stride + i) = pack<__nv_bfloat16>(gate);
}

template <class T>
__global__ void bias_rows(T* out, size_t stride, uint32_t columns, const float* bias) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= columns) return;
  T* at = out + blockIdx.y * stride + i;
  *at = from_float<T>(to_float(*at) + bias[i]);
}

template <bool kAdds>
void norm(const Rows& x, const Rows& residual, const float* weight, float epsilon, const Rows& out,
          cudaStream_t stream) {
  if (out.rows == 0) return;
  const bool wide = is_wide(x) && is_wide(out) && (!kAdds || is_wide(residual));
  const uint32_t threads = threads_for(x.columns, wide);
  auto* from = static_cast<const __nv_bfloat16*>(x.data);
  auto* sum = static_cast<__nv_bfloat16*>(residual.data);
  auto* to = static_cast<__nv_bfloat16*>(out.data);
  if (wide) {
    norm_rows<kAdds, true><<<out.rows, threads, 0, stream>>>(from, x.stride, sum, residual.stride, weight, epsilon, to,
                                                             out.stride, x.columns);
  } else {
    norm_rows<kAdds, false><<<out.rows, threads, 0, stream>>>(from, x.stride, sum, residual.stride, weight, epsilon, to,
                                                              out.stride, x.columns);
  }
}

}  // namespace

bool kernels_fit() {
  cudaFuncAttributes attributes = {};
  const bool fit = cudaFuncGetAttributes(&attributes, embed_rows) == cudaSuccess;
  cudaGetLastError();  // what was found out is no failure
  return fit;
}

void convert_rows(const void* from, DType dtype, Rows to, cudaStream_t stream) {
  switch (dtype) {
    case DType::kF32:
      return convert_as<DType::kF32>(from, to, stream);
    case DType::kF16:
      return convert_as<DType::kF16>(from, to, stream);
    case DType::kBF16:
      return convert_as<DType::kBF16>(from, to, stream);
    case DType::kQ8_0:
      return convert_as<DType::kQ8_0>(from, to, stream);
    case DType::kQ4_0:
      return convert_as<DType::kQ4_0>(from, to, stream);
    case DType::kQ4_1:
      return convert_as<DType::kQ4_1>(from, to, stream);
  }
}

void embed(Rows table, const StepTables& step, const Seats& seats, Rows out, cudaStream_t stream) {
  embed_rows<<<out.rows, threads_for(out.columns, false), 0, stream>>>(
      static_cast<const __nv_bfloat16*>(table.data), table.stride, step, seats, static_cast<__nv_bfloat16*>(out.data),
      out.stride, out.columns);
}

void gather(const StepTables& step, Rows x, Rows out, cudaStream_t stream) {
  gather_rows<<<out.rows, threads_for(out.columns, false), 0, stream>>>(step, static_cast<const __nv_bfloat16*>(x.data),
                                                                        x.stride, static_cast<__nv_bfloat16*>(out.data),
                                                                        out.stride, out.columns);
}

void rms_norm(Rows x, const float* weight, float epsilon, Rows out, cudaStream_t stream) {
  norm<false>(x, Rows{}, weight, epsilon, out, stream);
}

void add_rms_norm(Rows delta, Rows residual, const float* weight, float epsilon, Rows out, cudaStream_t stream) {
  norm<true>(delta, residual, weight, epsilon, out, stream);
}

void silu_mul(Rows gate_up, Rows out, cudaStream_t stream) {
  auto* from = static_cast<const __nv_bfloat16*>(gate_up.data);
  auto* to = static_cast<__nv_bfloat16*>(out.data);
  const bool wide = is_wide(gate_up) && is_wide(out);
  const uint32_t items = wide ? out.columns / 8 : out.columns;
  const dim3 grid((items + kThreads - 1) / kThreads, out.rows);
  if (wide) {
    silu_wide<<<grid, kThreads, 0, stream>>>(from, gate_up.stride, to, out.stride, out.columns);
  } else {
    silu_rows<<<grid, kThreads, 0, stream>>>(from, gate_up.stride, to, out.stride, out.columns);
  }
}

void add_bias(Rows out, const float* bias, cudaStream_t stream) {
  const dim3 grid((out.columns + kThreads - 1) / kThreads, out.rows);
  if (out.dtype == DType::kF32) {
    bias_rows<<<grid, kThreads, 0, stream>>>(static_cast<float*>(out.data), out.stride, out.columns, bias);
  } else {
    bias_rows<<<grid, kThreads, 0, stream>>>(static_cast<__nv_bfloat16*>(out.data), out.stride, out.columns, bias);
  }
}

}  // namespace dynamo::kernels::cuda
