// What the kernels share: numbers of 16 bits, sums over warps and blocks.
// Threads: device code.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace dynamo::kernels::cuda {

inline constexpr uint32_t kWarp = 32;
inline constexpr uint32_t kAllLanes = 0xffffffffU;

__device__ inline float to_float(float x) {
  return x;
}
__device__ inline float to_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}
__device__ inline float to_float(__half x) {
  return __half2float(x);
}

template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ inline __half from_float<__half>(float x) {
  return __float2half_rn(x);
}

// Eight numbers of 16 bits, as one load brings them.
template <class T>
__device__ inline void unpack(uint4 packed, float (&out)[8]) {
  const uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (std::is_same_v<T, __nv_bfloat16>) {
      out[2 * i] = __uint_as_float(words[i] << 16);
      out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000U);
    } else {
      const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(&words[i]));
      out[2 * i] = pair.x;
      out[2 * i + 1] = pair.y;
    }
  }
}
template <class T>
__device__ inline uint4 pack(const float (&in)[8]) {
  T packed[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) packed[i] = from_float<T>(in[i]);
  return *reinterpret_cast<const uint4*>(packed);
}

template <class T>
__device__ inline T warp_sum(T value) {
#pragma unroll
  for (int by = 16; by > 0; by /= 2) value += __shfl_xor_sync(kAllLanes, value, by);
  return value;
}
__device__ inline float warp_max(float value) {
#pragma unroll
  for (int by = 16; by > 0; by /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, by));
  return value;
}

// The sum over the block, for every thread. `scratch` holds one value per warp; the block must not use it otherwise
// until its next __syncthreads().
template <class T>
__device__ inline T block_sum(T value, T* scratch) {
  value = warp_sum(value);
  __syncthreads();  // whoever still reads an earlier sum
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  T sum = 0;
  for (uint32_t i = 0; i < blockDim.x / kWarp; ++i) sum += scratch[i];
  return sum;
}
__device__ inline float block_max(float value, float* scratch) {
  value = warp_max(value);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  float most = scratch[0];
  for (uint32_t i = 1; i < blockDim.x / kWarp; ++i) most = fmaxf(most, scratch[i]);
  return most;
}

}  // namespace dynamo::kernels::cuda
