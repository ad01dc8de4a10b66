// The kernels in plain C++: what every other set is tested against.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/half.h"

namespace dynamo::kernels {
namespace {

void quantize_row(const float* x, size_t columns, int16_t* values, float* scales, float* sums) {
  for (size_t begin = 0, block = 0; begin < columns; begin += kQuantBlock, ++block) {
    float largest = 0;
    for (size_t i = begin; i < begin + kQuantBlock; ++i) largest = std::max(largest, std::fabs(x[i]));
    const float scale = largest / 32767.0F;
    const float inverse = largest > 0 ? 32767.0F / largest : 0.0F;
    int32_t sum = 0;
    for (size_t i = begin; i < begin + kQuantBlock; ++i) {
      values[i] = static_cast<int16_t>(std::nearbyint(x[i] * inverse));
      sum += values[i];
    }
    scales[block] = scale;
    sums[block] = scale * static_cast<float>(sum);
  }
}

int32_t code_of(const QuantMatrix& w, const uint8_t* row, size_t column) {
  if (!w.minima) return static_cast<int8_t>(row[column]);
  const size_t block = column / kQuantBlock;
  const size_t within = column % kQuantBlock;
  const uint8_t byte = row[block * 16 + within % 16];
  return within < 16 ? byte & 15 : byte >> 4;
}

void matmul_quant(const QuantMatrix& w, const QuantRows& x, size_t first, size_t last, const float* bias, FloatRows out,
                  size_t first_out) {
  const size_t row_bytes = w.minima ? w.columns / 2 : w.columns;
  for (size_t n = first; n < last; ++n) {
    const uint8_t* codes = w.codes + n * row_bytes;
    for (size_t m = 0; m < x.rows; ++m) {
      float sum = 0;
      for (size_t block = 0; block < w.columns / kQuantBlock; ++block) {
        int32_t products = 0;
        for (size_t i = block * kQuantBlock; i < (block + 1) * kQuantBlock; ++i)
          products += code_of(w, codes, i) * x.values[m * x.columns + i];
        const size_t scale = n * w.padded_blocks + block;
        sum += half_to_float(w.scales[scale]) * x.scales[m * x.padded_blocks + block] * static_cast<float>(products);
        if (w.minima) sum += half_to_float(w.minima[scale]) * x.sums[m * x.padded_blocks + block];
      }
      out.row(m)[first_out + n - first] = sum + (bias ? bias[n - first] : 0.0F);
    }
  }
}

float element(const PlainMatrix& w, size_t index) {
  if (w.dtype == DType::kF32) return reinterpret_cast<const float*>(w.data)[index];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(w.data)[index];
  return w.dtype == DType::kF16 ? half_to_float(bits) : bf16_to_float(bits);
}

void matmul_plain(const PlainMatrix& w, FloatRows x, size_t first, size_t last, const float* bias, FloatRows out,
                  size_t first_out) {
  for (size_t n = first; n < last; ++n) {
    for (size_t m = 0; m < x.rows; ++m) {
      float sum = 0;
      for (size_t i = 0; i < w.columns; ++i) sum += x.row(m)[i] * element(w, n * w.columns + i);
      out.row(m)[first_out + n - first] = sum + (bias ? bias[n - first] : 0.0F);
    }
  }
}

void rms_norm_row(const float* x, const float* weight, float epsilon, size_t columns, float* out) {
  float squares = 0;
  for (size_t i = 0; i < columns; ++i) squares += x[i] * x[i];
  const float scale = 1.0F / std::sqrt(squares / static_cast<float>(columns) + epsilon);
  for (size_t i = 0; i < columns; ++i) out[i] = x[i] * scale * weight[i];
}

void add_row(const float* delta, float* residual, size_t columns) {
  for (size_t i = 0; i < columns; ++i) residual[i] += delta[i];
}

void silu_mul_row(const float* gate, const float* up, size_t columns, float* out) {
  for (size_t i = 0; i < columns; ++i) out[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
}

void rotate_head(float* head, const float* cosines, const float* sines, size_t head_dim) {
  const size_t half = head_dim / 2;
  for (size_t i = 0; i < half; ++i) {
    const float first = head[i];
    const float second = head[i + half];
    head[i] = first * cosines[i] - second * sines[i];
    head[i + half] = second * cosines[i] + first * sines[i];
  }
}

void store_f16(const float* from, size_t count, uint16_t* to) {
  for (size_t i = 0; i < count; ++i) to[i] = float_to_half(from[i]);
}

void load_f16(const uint16_t* from, size_t count, float* to) {
  for (size_t i = 0; i < count; ++i) to[i] = half_to_float(from[i]);
}

float cache_element(const KvRows& kv, size_t index) {
  if (!kv.is_half) return reinterpret_cast<const float*>(kv.base)[index];
  return half_to_float(reinterpret_cast<const uint16_t*>(kv.base)[index]);
}

void attend(const KvRows& kv, const AttendRow& row, float* /*scratch*/) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(kv.head_dim));
  const auto place = [&](uint32_t token) {
    return row.blocks[token / kv.block_tokens] * kv.block_stride +
           (size_t{row.kv_head} * kv.block_tokens + token % kv.block_tokens) * kv.head_dim;
  };
  std::vector<float> scores(row.seen);
  for (uint32_t head = 0; head < row.group; ++head) {
    const float* q = row.q + size_t{head} * kv.head_dim;
    float* out = row.out + size_t{head} * kv.head_dim;
    for (uint32_t token = 0; token < row.seen; ++token) {
      float dot = 0;
      for (uint32_t d = 0; d < kv.head_dim; ++d) dot += q[d] * cache_element(kv, place(token) + d);
      scores[token] = dot * scale;
    }
    const float largest = *std::max_element(scores.begin(), scores.end());
    float sum = 0;
    for (float& score : scores) sum += score = std::exp(score - largest);
    std::fill_n(out, kv.head_dim, 0.0F);
    for (uint32_t token = 0; token < row.seen; ++token) {
      for (uint32_t d = 0; d < kv.head_dim; ++d)
        out[d] += scores[token] / sum * cache_element(kv, place(token) + kv.value_offset + d);
    }
  }
}

}  // namespace

const CpuKernels& scalar_kernels() {
  static const CpuKernels kernels = {quantize_row, matmul_quant, matmul_plain, rms_norm_row, add_row,
                                     silu_mul_row, rotate_head,  store_f16,    load_f16,     attend};
  return kernels;
}

}  // namespace dynamo::kernels
