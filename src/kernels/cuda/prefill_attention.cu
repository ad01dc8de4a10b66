// Attention of runs of rows of one sequence, with matrix instructions: a block serves 64 positions of one head, a warp
// sixteen of them, and passes over the cache 64 tokens at a time with an online softmax (Dao 2023, "FlashAttention-2").
// K and V of the next tokens are copied into shared memory while those of the last are used. Pieces of sixteen bytes
// lie exclusive-ored with their row, so that eight rows of one column are in eight banks.
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

namespace dynamo::kernels::cuda {
namespace {

constexpr uint32_t kWarps = 4;
constexpr uint32_t kThreads = kWarps * kWarp;
constexpr uint32_t kTokens = 64;  // of the cache at a time
constexpr uint32_t kTokenTiles = kTokens / 8;
constexpr float kNone = -INFINITY;
static_assert(kTilePositions == kWarps * 16);

template <class T>
__device__ uint32_t pack_pair(float a, float b) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
    return *reinterpret_cast<const uint32_t*>(&pair);
  } else {
    const __half2 pair = __floats2half2_rn(a, b);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
}

// sum += a b, for a tile of sixteen rows, eight columns and sixteen terms.
template <class T>
__device__ void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

__device__ void load_matrices(uint32_t (&out)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address));
}
__device__ void load_transposed(uint32_t (&out)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address));
}
__device__ void copy_ahead(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from));
}
__device__ void end_group() {
  asm volatile("cp.async.commit_group;");
}
template <int kLeft>
__device__ void wait_for_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft));
}

// K or V of kTokens tokens in shared memory.
template <uint32_t kDim>
struct Tile {
  static constexpr uint32_t kPieces = kDim / 8;  // of sixteen bytes in a row
  static constexpr uint32_t kBytes = kTokens * kDim * 2;
  __device__ static uint32_t at(uint32_t base, uint32_t row, uint32_t piece) {
    return base + (row * kPieces + (piece ^ (row & 7))) * 16;
  }
};

template <class Kv, uint32_t kDim>
__global__ void __launch_bounds__(kThreads) attend_tiles(StepTables step, Attention args) {
  extern __shared__ __align__(128) uint8_t shared[];
  using T = Tile<kDim>;
  constexpr uint32_t kTermTiles = kDim / 16;
  constexpr uint32_t kDimTiles = kDim / 8;
  const KvRows& kv = args.kv;
  const TileEntry tile = step.tiles[gridDim.x - 1 - blockIdx.x];  // long ones first
  const SequenceEntry sequence = step.sequences[tile.sequence];
  const uint32_t head = blockIdx.y;
  const uint32_t kv_head = head / (args.heads / kv.kv_heads);
  const uint32_t lane = threadIdx.x % kWarp;
  const uint32_t warp = threadIdx.x / kWarp;
  const uint32_t rows = min(kTilePositions, sequence.rows - tile.first);  // of this tile
  const uint32_t first_position = sequence.length - sequence.rows + tile.first;
  const uint32_t seen = first_position + rows;  // tokens that its last row sees
  const uint32_t* blocks = step.blocks + sequence.first_block;
  const Kv* keys = static_cast<const Kv*>(kv.base) + static_cast<size_t>(kv_head) * kv.block_tokens * kDim;
  const auto base = static_cast<uint32_t>(__cvta_generic_to_shared(shared));

  // The two rows of a thread within its warp's sixteen.
  const uint32_t own = warp * 16 + lane / 4;
  uint32_t query[kTermTiles][4];
  {
    const auto* q = static_cast<const __nv_bfloat16*>(args.q.data) + static_cast<size_t>(head) * kDim;
    const size_t first_row = sequence.first_row + tile.first;
#pragma unroll
    for (uint32_t term = 0; term < kTermTiles; ++term) {
#pragma unroll
      for (uint32_t part = 0; part < 4; ++part) {
        const uint32_t row = min(own + part % 2 * 8, rows - 1);
        const uint32_t column = term * 16 + part / 2 * 8 + lane % 4 * 2;
        const auto pair = *reinterpret_cast<const __nv_bfloat162*>(q + (first_row + row) * args.q.stride + column);
        query[term][part] = pack_pair<Kv>(__bfloat162float(pair.x), __bfloat162float(pair.y));
      }
    }
  }

  const auto copy = [&](uint32_t from, uint32_t stage) {
    constexpr uint32_t kEach = kTokens * T::kPieces / kThreads;
#pragma unroll
    for (uint32_t i = 0; i < kEach; ++i) {
      const uint32_t item = threadIdx.x + i * kThreads;
      const uint32_t row = item / T::kPieces;
      const uint32_t piece = item % T::kPieces;
      const uint32_t token = min(from + row, seen - 1);  // what is beyond is masked
      const Kv* at = keys + blocks[token / kv.block_tokens] * kv.block_stride +
                     static_cast<size_t>(token % kv.block_tokens) * kDim + piece * 8;
      copy_ahead(T::at(base + stage * 2 * T::kBytes, row, piece), at);
      copy_ahead(T::at(base + (stage * 2 + 1) * T::kBytes, row, piece), at + kv.value_offset);
    }
    end_group();
  };

  float values[kDimTiles][4] = {};
  float most[2] = {kNone, kNone};
  float sum[2] = {0, 0};
  const float scale = rsqrtf(static_cast<float>(kDim)) * 1.4426950408889634F;  // weights are powers of 2
  copy(0, 0);
  uint32_t stage = 0;
  for (uint32_t from = 0; from < seen; from += kTokens, stage ^= 1) {
    if (from + kTokens < seen) {
      copy(from + kTokens, stage ^ 1);
      wait_for_groups<1>();
    } else {
      wait_for_groups<0>();
    }
    __syncthreads();
    const uint32_t key_tile = base + stage * 2 * T::kBytes;
    const uint32_t value_tile = key_tile + T::kBytes;
    float scores[kTokenTiles][4] = {};
#pragma unroll
    for (uint32_t term = 0; term < kTermTiles; ++term) {
#pragma unroll
      for (uint32_t pair = 0; pair < kTokenTiles / 2; ++pair) {
        uint32_t key[4];
        load_matrices(key, T::at(key_tile, pair * 16 + lane / 16 * 8 + lane % 8, term * 2 + lane / 8 % 2));
        multiply_add<Kv>(scores[2 * pair], query[term], key[0], key[1]);
        multiply_add<Kv>(scores[2 * pair + 1], query[term], key[2], key[3]);
      }
    }
    const bool is_masked = from + kTokens > first_position + warp * 16 + 1;  // some row does not see all of these
#pragma unroll
    for (uint32_t half = 0; half < 2; ++half) {
      const uint32_t position = first_position + own + half * 8;
      float top = most[half];
#pragma unroll
      for (uint32_t t = 0; t < kTokenTiles; ++t) {
#pragma unroll
        for (uint32_t e = 0; e < 2; ++e) {
          float& score = scores[t][half * 2 + e];
          score *= scale;
          if (is_masked && from + t * 8 + lane % 4 * 2 + e > position) score = kNone;
          top = fmaxf(top, score);
        }
      }
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
      const float shrink = top == kNone ? 1 : exp2f(most[half] - top);
      const float bar = top == kNone ? 0 : top;
      most[half] = top;
      float added = 0;
#pragma unroll
      for (uint32_t t = 0; t < kTokenTiles; ++t) {
#pragma unroll
        for (uint32_t e = 0; e < 2; ++e) {
          float& score = scores[t][half * 2 + e];
          score = exp2f(score - bar);
          added += score;
        }
      }
      sum[half] = sum[half] * shrink + added;  // of this lane's columns
#pragma unroll
      for (uint32_t d = 0; d < kDimTiles; ++d) {
        values[d][half * 2] *= shrink;
        values[d][half * 2 + 1] *= shrink;
      }
    }
#pragma unroll
    for (uint32_t k = 0; k < kTokens / 16; ++k) {
      const uint32_t weights[4] = {pack_pair<Kv>(scores[2 * k][0], scores[2 * k][1]),
                                   pack_pair<Kv>(scores[2 * k][2], scores[2 * k][3]),
                                   pack_pair<Kv>(scores[2 * k + 1][0], scores[2 * k + 1][1]),
                                   pack_pair<Kv>(scores[2 * k + 1][2], scores[2 * k + 1][3])};
#pragma unroll
      for (uint32_t pair = 0; pair < kDimTiles / 2; ++pair) {
        uint32_t value[4];
        load_transposed(value, T::at(value_tile, k * 16 + lane / 8 % 2 * 8 + lane % 8, pair * 2 + lane / 16));
        multiply_add<Kv>(values[2 * pair], weights, value[0], value[1]);
        multiply_add<Kv>(values[2 * pair + 1], weights, value[2], value[3]);
      }
    }
    __syncthreads();  // before the next copy writes what was read here
  }

#pragma unroll
  for (uint32_t half = 0; half < 2; ++half) {
    float all = sum[half];
    all += __shfl_xor_sync(kAllLanes, all, 1);
    all += __shfl_xor_sync(kAllLanes, all, 2);
    const uint32_t row = own + half * 8;
    if (row >= rows) continue;
    auto* out = static_cast<__nv_bfloat16*>(args.out.data) +
                (static_cast<size_t>(sequence.first_row) + tile.first + row) * args.out.stride +
                static_cast<size_t>(head) * kDim;
#pragma unroll
    for (uint32_t d = 0; d < kDimTiles; ++d) {
      *reinterpret_cast<__nv_bfloat162*>(out + d * 8 + lane % 4 * 2) =
          __floats2bfloat162_rn(values[d][half * 2] / all, values[d][half * 2 + 1] / all);
    }
  }
}

template <class Kv, uint32_t kDim>
void attend_as(const StepTables& step, const Attention& args, cudaStream_t stream) {
  constexpr uint32_t kShared = 4 * Tile<kDim>::kBytes;
  static const cudaError_t allowed =
      cudaFuncSetAttribute(attend_tiles<Kv, kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
  (void)allowed;  // a launch that may not have so much says so
  attend_tiles<Kv, kDim><<<dim3(step.tile_count, args.heads), kThreads, kShared, stream>>>(step, args);
}

template <class Kv>
void attend_dim(const StepTables& step, const Attention& args, cudaStream_t stream) {
  if (args.kv.head_dim == 64) {
    attend_as<Kv, 64>(step, args, stream);
  } else {
    attend_as<Kv, 128>(step, args, stream);
  }
}

}  // namespace

bool can_attend_tiles(const Attention& args) {
  return (args.kv.head_dim == 64 || args.kv.head_dim == 128) && args.q.stride % 8 == 0 && args.out.stride % 8 == 0 &&
         reinterpret_cast<uintptr_t>(args.q.data) % 16 == 0 && reinterpret_cast<uintptr_t>(args.out.data) % 16 == 0 &&
         reinterpret_cast<uintptr_t>(args.kv.base) % 16 == 0 && args.kv.value_offset % 8 == 0 &&
         args.kv.block_stride % 8 == 0;
}

void attend_tiles(const StepTables& step, const Attention& args, cudaStream_t stream) {
  if (args.kv.is_bf16) {
    attend_dim<__nv_bfloat16>(step, args, stream);
  } else {
    attend_dim<__half>(step, args, stream);
  }
}

}  // namespace dynamo::kernels::cuda
