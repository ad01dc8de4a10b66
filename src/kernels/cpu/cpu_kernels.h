// What one instruction set has to provide: the inner loops of the CPU backend, each over a part of its outputs.
//
// Batch invariance: an output element is the same sequence of floating-point operations whatever range and whatever
// other rows a call covers. Threads: pure functions over memory that the caller splits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace dynamo::kernels {

inline constexpr size_t kQuantBlock = 32;    // weights and activations that share a scale
inline constexpr size_t kScalePadding = 16;  // scales per row are padded to a multiple of this, with zeros

// Activations: rows of `columns` floats, `stride` floats apart.
struct FloatRows {
  float* data = nullptr;
  size_t rows = 0;
  size_t columns = 0;
  size_t stride = 0;

  float* row(size_t index) const { return data + index * stride; }
};

// Rows of activations in 16 bits: x = scale * value per block of 32, so about 15 bits of precision relative to the
// block's largest. sums[b] is scale times the sum of the block's values, which is what a weight's minimum is multiplied
// by.
struct QuantRows {
  const int16_t* values = nullptr;  // [rows][columns]
  const float* scales = nullptr;    // [rows][padded_blocks]
  const float* sums = nullptr;      // [rows][padded_blocks]
  size_t rows = 0;
  size_t columns = 0;
  size_t padded_blocks = 0;
};

// A block-quantised weight matrix taken apart: codes, scales and minima in arrays of their own, so that they load in
// vectors. w = scale * code + minimum; Q4 codes are nibbles 0..15 (Q4_0's offset is in its minimum), Q8 codes are
// signed bytes.
struct QuantMatrix {
  const uint8_t* codes = nullptr;    // [rows][columns / 2], as GGML orders nibbles in a block, or [rows][columns]
  const uint16_t* scales = nullptr;  // fp16 [rows][padded_blocks]
  const uint16_t* minima = nullptr;  // the same; null when all are zero (Q8_0)
  size_t columns = 0;
  size_t padded_blocks = 0;
};

struct PlainMatrix {
  DType dtype = DType::kF32;        // kF32, kF16 or kBF16
  const std::byte* data = nullptr;  // [rows][columns]
  size_t columns = 0;
};

// One layer's KV pool: kernels/backend.h, KvView.
struct KvRows {
  std::byte* base = nullptr;
  bool is_half = true;  // fp16, else fp32
  size_t block_stride = 0;
  size_t value_offset = 0;
  uint32_t head_dim = 0;
  uint32_t block_tokens = 0;
};

// One row's query heads of one KV head.
struct AttendRow {
  const float* q = nullptr;  // [group][head_dim]
  float* out = nullptr;      // [group][head_dim]
  uint32_t group = 0;
  uint32_t kv_head = 0;
  uint32_t seen = 0;                 // tokens of the sequence up to and with the row's own
  const uint32_t* blocks = nullptr;  // the sequence's
};

struct CpuKernels {
  void (*quantize_row)(const float* x, size_t columns, int16_t* values, float* scales, float* sums);
  // out[m][first_out + n - first] for weight rows n in [first, last) and every row m. bias may be null.
  void (*matmul_quant)(const QuantMatrix& w, const QuantRows& x, size_t first, size_t last, const float* bias,
                       FloatRows out, size_t first_out);
  void (*matmul_plain)(const PlainMatrix& w, FloatRows x, size_t first, size_t last, const float* bias, FloatRows out,
                       size_t first_out);
  void (*rms_norm_row)(const float* x, const float* weight, float epsilon, size_t columns, float* out);
  void (*add_row)(const float* delta, float* residual, size_t columns);
  void (*silu_mul_row)(const float* gate, const float* up, size_t columns, float* out);
  // Rotates one head in place: cosines and sines are [head_dim / 2].
  void (*rotate_head)(float* head, const float* cosines, const float* sines, size_t head_dim);
  void (*store_f16)(const float* from, size_t count, uint16_t* to);
  void (*load_f16)(const uint16_t* from, size_t count, float* to);
  // `scratch` has room for attend_scratch(row.group, kv) floats.
  void (*attend)(const KvRows& kv, const AttendRow& row, float* scratch);
};

// A key or value, and per query head a block's scores in whole vectors, the largest and the sum.
constexpr size_t attend_scratch(size_t group, const KvRows& kv) {
  return kv.head_dim + group * (kv.block_tokens + kScalePadding + 2);
}

const CpuKernels& scalar_kernels();
const CpuKernels& avx2_kernels();    // Requires: a machine with AVX2, FMA and F16C
const CpuKernels& avx512_kernels();  // Requires: a machine with AVX-512 F, BW, VL, DQ and VNNI

}  // namespace dynamo::kernels
