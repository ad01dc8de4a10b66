// Norms q and k if asked, rotates them, and stores k and v: one block a row, one warp a head at a time.
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

namespace dynamo::kernels::cuda {
namespace {

constexpr uint32_t kWarps = 8;
constexpr uint32_t kPairsPerLane = kMostHeadDim / 2 / kWarp;

template <class Kv>
__global__ void rope_append_rows(StepTables step, RopeAppend args) {
  const uint32_t row = blockIdx.x;
  const uint32_t lane = threadIdx.x % kWarp;
  const KvRows& kv = args.kv;
  const uint32_t dim = kv.head_dim;
  const uint32_t half = dim / 2;
  const uint32_t position = step.positions[row];
  const SequenceEntry sequence = step.sequences[step.sequence_of[row]];
  const uint32_t block = step.blocks[sequence.first_block + position / kv.block_tokens];
  const float* cosines = args.cosines + position * args.table_stride;
  const float* sines = args.sines + position * args.table_stride;
  for (uint32_t head = threadIdx.x / kWarp; head < args.heads + 2 * kv.kv_heads; head += kWarps) {
    __nv_bfloat16* values =
        static_cast<__nv_bfloat16*>(args.qkv.data) + row * args.qkv.stride + static_cast<size_t>(head) * dim;
    const bool is_query = head < args.heads;
    const bool is_value = head >= args.heads + kv.kv_heads;
    float first[kPairsPerLane];
    float second[kPairsPerLane];
    float squares = 0;
#pragma unroll
    for (uint32_t i = 0; i < kPairsPerLane; ++i) {
      const uint32_t pair = lane + i * kWarp;
      first[i] = pair < half ? to_float(values[pair]) : 0;
      second[i] = pair < half ? to_float(values[pair + half]) : 0;
      squares += first[i] * first[i] + second[i] * second[i];
    }
    const float* norm = is_value ? nullptr : is_query ? args.q_norm : args.k_norm;
    if (norm != nullptr) {
      const float scale = rsqrtf(warp_sum(squares) / static_cast<float>(dim) + args.norm_epsilon);
#pragma unroll
      for (uint32_t i = 0; i < kPairsPerLane; ++i) {
        const uint32_t pair = lane + i * kWarp;
        if (pair >= half) continue;
        first[i] *= scale * norm[pair];
        second[i] *= scale * norm[pair + half];
      }
    }
    Kv* to = nullptr;
    if (!is_query) {
      const uint32_t kv_head = (head - args.heads) % kv.kv_heads;
      to = static_cast<Kv*>(kv.base) + block * kv.block_stride + (is_value ? kv.value_offset : 0) +
           (static_cast<size_t>(kv_head) * kv.block_tokens + position % kv.block_tokens) * dim;
    }
#pragma unroll
    for (uint32_t i = 0; i < kPairsPerLane; ++i) {
      const uint32_t pair = lane + i * kWarp;
      if (pair >= half) continue;
      float a = first[i];
      float b = second[i];
      if (!is_value) {
        a = first[i] * cosines[pair] - second[i] * sines[pair];
        b = second[i] * cosines[pair] + first[i] * sines[pair];
      }
      if (is_query) {
        values[pair] = from_float<__nv_bfloat16>(a);
        values[pair + half] = from_float<__nv_bfloat16>(b);
      } else {
        to[pair] = from_float<Kv>(a);
        to[pair + half] = from_float<Kv>(b);
      }
    }
  }
}

}  // namespace

void rope_append(const StepTables& step, const RopeAppend& args, cudaStream_t stream) {
  if (args.kv.is_bf16) {
    rope_append_rows<__nv_bfloat16><<<step.rows, kWarps * kWarp, 0, stream>>>(step, args);
  } else {
    rope_append_rows<__half><<<step.rows, kWarps * kWarp, 0, stream>>>(step, args);
  }
}

}  // namespace dynamo::kernels::cuda
