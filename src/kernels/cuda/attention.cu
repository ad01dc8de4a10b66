// Attention of each row over its sequence's paged cache, in one pass with an online softmax (Milakov and Gimelshein
// 2018).
//
// A block serves one row, one KV head and one part of the row's cache; the query heads that share the KV head are served
// together, so that K and V are read once for all of them. Within a warp, as many lanes as hold a head share a token,
// eight numbers each, and the warp takes several tokens at a time. What the parts found is merged by a second kernel
// (Dao et al. 2023, "Flash-Decoding").
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

namespace dynamo::kernels::cuda {
namespace {

constexpr uint32_t kWarps = 4;
constexpr float kNone = -INFINITY;

// That the thread block serves.
__device__ uint32_t row_of(const RowList& list) {
  return list.rows == nullptr ? blockIdx.x : list.rows[blockIdx.x];
}

// What one lane has of a head of kDim dimensions; 0: any even number up to kMostHeadDim, slower.
template <class Kv, uint32_t kDim>
struct Lane {
  static constexpr uint32_t kLanes = kDim == 0 ? kWarp : kDim / 8;  // that share a token
  static constexpr uint32_t kTokens = kWarp / kLanes;               // of a warp at a time
  uint32_t lane;                                                    // within those
  uint32_t dim;

  __device__ Lane(uint32_t in_warp, uint32_t dim) : lane(in_warp % kLanes), dim(dim) {}
  __device__ uint32_t at(uint32_t e) const { return kDim == 0 ? lane + e * kWarp : lane * 8 + e; }
  __device__ bool has(uint32_t e) const { return kDim != 0 || at(e) < dim; }
  template <class T>
  __device__ void load(const T* head, float (&out)[8]) const {
    if constexpr (kDim != 0) {
      unpack<T>(*reinterpret_cast<const uint4*>(head + lane * 8), out);
    } else {
#pragma unroll
      for (uint32_t e = 0; e < 8; ++e) out[e] = has(e) ? to_float(head[at(e)]) : 0;
    }
  }
};

// A softmax under way: the largest score, the sum of weights and the weighted values.
struct Found {
  float most = kNone;
  float sum = 0;
  float values[8] = {};

  // Makes room for scores up to `score`.
  __device__ float raise(float score) {
    const float before = most;
    most = fmaxf(most, score);
    const float scale = most == kNone ? 1 : exp2f(before - most);
    sum *= scale;
#pragma unroll
    for (float& value : values) value *= scale;
    return most == kNone ? 0 : most;
  }
};

template <class Kv, uint32_t kDim, uint32_t kGroup>
__global__ void __launch_bounds__(kWarps* kWarp) attend(StepTables step, Attention args, RowList list, uint32_t group) {
  constexpr uint32_t kAhead = kDim == 0 ? 1 : 4;  // tokens whose K and V are loaded before the first is used
  using L = Lane<Kv, kDim>;
  const KvRows& kv = args.kv;
  const uint32_t dim = kDim == 0 ? kv.head_dim : kDim;
  const uint32_t row = row_of(list);
  const uint32_t chunks = (group + kGroup - 1) / kGroup;  // of the group's heads
  const uint32_t kv_head = blockIdx.y / chunks;
  const uint32_t first_head = kv_head * group + blockIdx.y % chunks * kGroup;
  const uint32_t heads = min(kGroup, (kv_head + 1) * group - first_head);
  const uint32_t in_warp = threadIdx.x % kWarp;
  const uint32_t warp = threadIdx.x / kWarp;
  const L lane(in_warp, dim);

  float query[kGroup][8];
  const float scale = rsqrtf(static_cast<float>(dim)) * 1.4426950408889634F;  // weights are powers of 2
#pragma unroll
  for (uint32_t g = 0; g < kGroup; ++g) {
    const auto* q = static_cast<const __nv_bfloat16*>(args.q.data) + row * args.q.stride;
    lane.load(q + static_cast<size_t>(first_head + min(g, heads - 1)) * dim, query[g]);
#pragma unroll
    for (float& value : query[g]) value *= scale;
  }

  const SequenceEntry sequence = step.sequences[step.sequence_of[row]];
  const uint32_t* blocks = step.blocks + sequence.first_block;
  const uint32_t seen = step.positions[row] + 1;
  const uint32_t part = (seen + list.splits - 1) / list.splits;
  const uint32_t begin = min(seen, blockIdx.z * part);
  const uint32_t end = min(seen, begin + part);
  const Kv* keys = static_cast<const Kv*>(kv.base) + static_cast<size_t>(kv_head) * kv.block_tokens * dim;
  const auto place = [&](uint32_t token) {
    return blocks[token / kv.block_tokens] * kv.block_stride + static_cast<size_t>(token % kv.block_tokens) * dim;
  };

  Found found[kGroup];
  constexpr uint32_t kStride = kWarps * L::kTokens;  // tokens of the block at a time
  for (uint32_t base = begin; base < end; base += kStride * kAhead) {
    float key[kAhead][8];
    float value[kAhead][8];
    bool is_there[kAhead];
#pragma unroll
    for (uint32_t a = 0; a < kAhead; ++a) {
      const uint32_t token = base + a * kStride + warp * L::kTokens + in_warp / L::kLanes;
      is_there[a] = token < end;
      const size_t at = place(is_there[a] ? token : begin);
      lane.load(keys + at, key[a]);
      lane.load(keys + kv.value_offset + at, value[a]);
    }
#pragma unroll
    for (uint32_t g = 0; g < kGroup; ++g) {
      float score[kAhead];
      float most = kNone;
#pragma unroll
      for (uint32_t a = 0; a < kAhead; ++a) {
        float dot = 0;
#pragma unroll
        for (uint32_t e = 0; e < 8; ++e) dot += query[g][e] * key[a][e];
#pragma unroll
        for (uint32_t by = L::kLanes / 2; by > 0; by /= 2) dot += __shfl_xor_sync(kAllLanes, dot, by);
        score[a] = is_there[a] ? dot : kNone;
        most = fmaxf(most, score[a]);
      }
      const float top = found[g].raise(most);
#pragma unroll
      for (uint32_t a = 0; a < kAhead; ++a) {
        const float weight = exp2f(score[a] - top);
        found[g].sum += weight;
#pragma unroll
        for (uint32_t e = 0; e < 8; ++e) found[g].values[e] += weight * value[a][e];
      }
    }
  }

  // The lanes of a warp that held other tokens, then the warps.
  __shared__ float most_of[kWarps][kGroup];
  __shared__ float sum_of[kWarps][kGroup];
  __shared__ float values_of[kWarps][kGroup][kDim == 0 ? kMostHeadDim : kDim];
#pragma unroll
  for (uint32_t g = 0; g < kGroup; ++g) {
#pragma unroll
    for (uint32_t by = L::kLanes; by < kWarp; by *= 2) {
      const float other = __shfl_xor_sync(kAllLanes, found[g].most, by);
      const float other_sum = __shfl_xor_sync(kAllLanes, found[g].sum, by);
      const float top = fmaxf(found[g].most, other);
      const float own_scale = top == kNone ? 0 : exp2f(found[g].most - top);
      const float other_scale = top == kNone ? 0 : exp2f(other - top);
      found[g].most = top;
      found[g].sum = found[g].sum * own_scale + other_sum * other_scale;
#pragma unroll
      for (float& value : found[g].values) {
        value = value * own_scale + __shfl_xor_sync(kAllLanes, value, by) * other_scale;
      }
    }
    if (in_warp < L::kLanes) {
#pragma unroll
      for (uint32_t e = 0; e < 8; ++e) {
        if (lane.has(e)) values_of[warp][g][lane.at(e)] = found[g].values[e];
      }
    }
    if (in_warp == 0) {
      most_of[warp][g] = found[g].most;
      sum_of[warp][g] = found[g].sum;
    }
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < heads * dim; i += blockDim.x) {
    const uint32_t g = i / dim;
    const uint32_t d = i % dim;
    float top = kNone;
    for (uint32_t w = 0; w < kWarps; ++w) top = fmaxf(top, most_of[w][g]);
    float sum = 0;
    float value = 0;
    for (uint32_t w = 0; w < kWarps; ++w) {
      const float part_scale = top == kNone ? 0 : exp2f(most_of[w][g] - top);
      sum += sum_of[w][g] * part_scale;
      value += values_of[w][g][d] * part_scale;
    }
    const uint32_t head = first_head + g;
    if (list.splits == 1) {
      static_cast<__nv_bfloat16*>(args.out.data)[row * args.out.stride + static_cast<size_t>(head) * dim + d] =
          from_float<__nv_bfloat16>(value / sum);
      continue;
    }
    float* to =
        list.partial + ((static_cast<size_t>(blockIdx.x) * args.heads + head) * list.splits + blockIdx.z) * (dim + 2);
    to[2 + d] = value;
    if (d == 0) {
      to[0] = top;
      to[1] = sum;
    }
  }
}

__global__ void merge(Attention args, RowList list) {
  const uint32_t row = row_of(list);
  const uint32_t head = blockIdx.y;
  const uint32_t d = threadIdx.x;
  const uint32_t dim = args.kv.head_dim;
  const float* parts = list.partial + (static_cast<size_t>(blockIdx.x) * args.heads + head) * list.splits * (dim + 2);
  float top = kNone;
  for (uint32_t s = 0; s < list.splits; ++s) top = fmaxf(top, parts[s * (dim + 2)]);
  float sum = 0;
  float value = 0;
  for (uint32_t s = 0; s < list.splits; ++s) {
    const float scale = exp2f(parts[s * (dim + 2)] - top);
    sum += parts[s * (dim + 2) + 1] * scale;
    value += parts[s * (dim + 2) + 2 + d] * scale;
  }
  static_cast<__nv_bfloat16*>(args.out.data)[row * args.out.stride + static_cast<size_t>(head) * dim + d] =
      from_float<__nv_bfloat16>(value / sum);
}

template <class Kv, uint32_t kDim, uint32_t kGroup>
void attend_as(const StepTables& step, const Attention& args, const RowList& list, cudaStream_t stream) {
  const uint32_t group = args.heads / args.kv.kv_heads;
  const uint32_t chunks = (group + kGroup - 1) / kGroup;
  const dim3 grid(list.count, args.kv.kv_heads * chunks, list.splits);
  attend<Kv, kDim, kGroup><<<grid, kWarps * kWarp, 0, stream>>>(step, args, list, group);
}

template <class Kv, uint32_t kDim>
void attend_group(const StepTables& step, const Attention& args, const RowList& list, cudaStream_t stream) {
  switch (args.heads / args.kv.kv_heads) {
    case 1:
      return attend_as<Kv, kDim, 1>(step, args, list, stream);
    case 2:
      return attend_as<Kv, kDim, 2>(step, args, list, stream);
    case 3:
      return attend_as<Kv, kDim, 3>(step, args, list, stream);
    default:
      return attend_as<Kv, kDim, 4>(step, args, list, stream);
  }
}

template <class Kv>
void attend_dim(const StepTables& step, const Attention& args, const RowList& list, cudaStream_t stream) {
  const bool is_aligned = args.q.stride % 8 == 0 && reinterpret_cast<uintptr_t>(args.q.data) % 16 == 0 &&
                          reinterpret_cast<uintptr_t>(args.kv.base) % 16 == 0;
  if (is_aligned && args.kv.head_dim == 64) return attend_group<Kv, 64>(step, args, list, stream);
  if (is_aligned && args.kv.head_dim == 128) return attend_group<Kv, 128>(step, args, list, stream);
  return attend_group<Kv, 0>(step, args, list, stream);
}

}  // namespace

void attend_rows(const StepTables& step, const Attention& args, const RowList& list, cudaStream_t stream) {
  if (args.kv.is_bf16) {
    attend_dim<__nv_bfloat16>(step, args, list, stream);
  } else {
    attend_dim<__half>(step, args, list, stream);
  }
  if (list.splits > 1) merge<<<dim3(list.count, args.heads), args.kv.head_dim, 0, stream>>>(args, list);
}

}  // namespace dynamo::kernels::cuda
