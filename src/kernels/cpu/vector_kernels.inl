// The kernels over vectors, written once. Included by one file per instruction set, which defines in an anonymous namespace, before it:
//   kLanes, Vec (kLanes floats), and the functions load, store, broadcast, zero, add, sub, mul, divide, fma (a * b + c), maximum, sum_of
//   (lanes), largest_of (lanes), load_half (kLanes fp16), store_half, load_bf16, round_to_i32 / store_i16;
//   Codes (32 int16), load_codes (from int16), nibble_codes (16 bytes), byte_codes (32 bytes), dot (Codes, Codes: 32 products summed to
//   kLanes lanes, exact, as floats).
// Only plain loops and memory here: a standard library function used here could be compiled for this instruction set and then be
// called by code for another.

constexpr float kLog2e = 1.44269504088896341F;

// e^x for x <= 0 and moderate x > 0, relative error below 2e-7. Source: Cephes expf's polynomial.
Vec exponential(Vec x) {
  x = maximum(x, broadcast(-87.0F));
  const Vec n = round_to_nearest(mul(x, broadcast(kLog2e)));
  Vec r = fma(n, broadcast(-0.693359375F), x);
  r = fma(n, broadcast(2.12194440e-4F), r);
  Vec p = broadcast(1.9875691500e-4F);
  p = fma(p, r, broadcast(1.3981999507e-3F));
  p = fma(p, r, broadcast(8.3334519073e-3F));
  p = fma(p, r, broadcast(4.1665795894e-2F));
  p = fma(p, r, broadcast(1.6666665459e-1F));
  p = fma(p, r, broadcast(5.0000001201e-1F));
  p = add(fma(p, mul(r, r), r), broadcast(1.0F));
  return mul(p, power_of_two(n));
}

void quantize_row(const float* x, size_t columns, int16_t* values, float* scales, float* sums) {
  for (size_t begin = 0, block = 0; begin < columns; begin += kQuantBlock, ++block) {
    Vec largest = zero();
    for (size_t i = 0; i < kQuantBlock; i += kLanes) largest = maximum(largest, absolute(load(x + begin + i)));
    const float most = largest_of(largest);
    const float inverse = most > 0 ? 32767.0F / most : 0.0F;
    Vec sum = zero();  // exact: at most 32 * 32767
    for (size_t i = 0; i < kQuantBlock; i += kLanes) {
      const Vec rounded = round_to_nearest(mul(load(x + begin + i), broadcast(inverse)));
      store_i16(values + begin + i, rounded);
      sum = add(sum, rounded);
    }
    scales[block] = most / 32767.0F;
    sums[block] = scales[block] * sum_of(sum);
  }
}

// One row of weights, ready to be multiplied by many rows of activations: codes in 16 bits, scales and minima as floats.
constexpr size_t kMaxPreparedColumns = 16384;
struct Prepared {
  alignas(64) int16_t codes[kMaxPreparedColumns];
  alignas(64) float scales[kMaxPreparedColumns / kQuantBlock + kScalePadding];
  alignas(64) float minima[kMaxPreparedColumns / kQuantBlock + kScalePadding];
};

// Sum over blocks of minimum * activation sum. The same order for every caller.
inline float minimum_part(const float* minima, const float* sums, size_t padded) {
  Vec total = zero();
  for (size_t b = 0; b < padded; b += kLanes) total = fma(load(minima + b), load(sums + b), total);
  return sum_of(total);
}

inline void load_scales(const uint16_t* from, size_t padded, float* to) {
  for (size_t b = 0; b < padded; b += kLanes) store(to + b, load_half(from + b));
}

// Weight row n with every activation row. kHasNibbles: Q4, else Q8.
template <bool kHasNibbles>
void multiply_row(const QuantMatrix& w, const QuantRows& x, size_t n, float bias, float* out, size_t out_stride,
                  Prepared* prepared) {
  const size_t blocks = w.columns / kQuantBlock;
  const size_t padded = w.padded_blocks;
  load_scales(w.scales + n * padded, padded, prepared->scales);
  if (kHasNibbles) load_scales(w.minima + n * padded, padded, prepared->minima);
  const uint8_t* codes = w.codes + n * (kHasNibbles ? w.columns / 2 : w.columns);
  const auto codes_of = [&](size_t b) {
    return kHasNibbles ? nibble_codes(codes + b * 16) : byte_codes(codes + b * 32);
  };
  const auto finish = [&](Vec total, size_t m) {
    float sum = sum_of(total);
    if (kHasNibbles) sum += minimum_part(prepared->minima, x.sums + m * padded, padded);
    out[m * out_stride] = sum + bias;
  };
  if (x.rows == 1) {
    Vec total = zero();
    for (size_t b = 0; b < blocks; ++b) {
      total = fma(dot(codes_of(b), load_codes(x.values + b * kQuantBlock)),
                  broadcast(prepared->scales[b] * x.scales[b]), total);
    }
    return finish(total, 0);
  }
  for (size_t b = 0; b < blocks; ++b) store_codes(prepared->codes + b * kQuantBlock, codes_of(b));
  constexpr size_t kTile = 4;  // activation rows that share the loads of a weight row
  size_t m = 0;
  for (; m + kTile <= x.rows; m += kTile) {
    Vec totals[kTile] = {zero(), zero(), zero(), zero()};
    for (size_t b = 0; b < blocks; ++b) {
      const Codes weights = load_codes(prepared->codes + b * kQuantBlock);
      const float scale = prepared->scales[b];
      for (size_t k = 0; k < kTile; ++k) {
        const Codes values = load_codes(x.values + (m + k) * x.columns + b * kQuantBlock);
        totals[k] = fma(dot(weights, values), broadcast(scale * x.scales[(m + k) * padded + b]), totals[k]);
      }
    }
    for (size_t k = 0; k < kTile; ++k) finish(totals[k], m + k);
  }
  for (; m < x.rows; ++m) {
    Vec total = zero();
    for (size_t b = 0; b < blocks; ++b) {
      const Codes values = load_codes(x.values + m * x.columns + b * kQuantBlock);
      total = fma(dot(load_codes(prepared->codes + b * kQuantBlock), values),
                  broadcast(prepared->scales[b] * x.scales[m * padded + b]), total);
    }
    finish(total, m);
  }
}

void matmul_quant(const QuantMatrix& w, const QuantRows& x, size_t first, size_t last, const float* bias, FloatRows out,
                  size_t first_out) {
  static thread_local Prepared prepared;
  // Activations are taken in panels that stay in the second-level cache while all weight rows pass over them.
  constexpr size_t kPanelBytes = 512U << 10;
  const size_t panel =
      w.columns * sizeof(int16_t) > kPanelBytes / 4 ? 4 : kPanelBytes / (w.columns * sizeof(int16_t)) / 4 * 4;
  for (size_t begin = 0; begin < x.rows; begin += panel) {
    QuantRows part = x;
    part.rows = x.rows - begin < panel ? x.rows - begin : panel;
    part.values += begin * x.columns;
    part.scales += begin * x.padded_blocks;
    part.sums += begin * x.padded_blocks;
    for (size_t n = first; n < last; ++n) {
      float* to = out.row(begin) + first_out + n - first;
      const float add = bias ? bias[n - first] : 0.0F;
      if (w.minima) {
        multiply_row<true>(w, part, n, add, to, out.stride, &prepared);
      } else {
        multiply_row<false>(w, part, n, add, to, out.stride, &prepared);
      }
    }
  }
}

// Columns [0, whole) in vectors, the rest one by one: the same for every row.
inline float dot_floats(const float* a, const float* b, size_t count) {
  Vec totals[4] = {zero(), zero(), zero(), zero()};
  size_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    for (size_t k = 0; k < 4; ++k) totals[k] = fma(load(a + i + k * kLanes), load(b + i + k * kLanes), totals[k]);
  }
  for (; i + kLanes <= count; i += kLanes) totals[0] = fma(load(a + i), load(b + i), totals[0]);
  float sum = sum_of(add(add(totals[0], totals[1]), add(totals[2], totals[3])));
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

void load_f16(const uint16_t* from, size_t count, float* to) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load_half(from + i));
  for (; i < count; ++i) to[i] = one_half(from[i]);
}

void load_bf16(const uint16_t* from, size_t count, float* to) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load_brain(from + i));
  for (; i < count; ++i) to[i] = __builtin_bit_cast(float, uint32_t{from[i]} << 16);
}

// Columns at a time, so that converted weights stay in the first-level cache.
constexpr size_t kPlainPanel = 2048;

void matmul_plain(const PlainMatrix& w, FloatRows x, size_t first, size_t last, const float* bias, FloatRows out,
                  size_t first_out) {
  alignas(64) float converted[kPlainPanel];
  for (size_t n = first; n < last; ++n) {
    for (size_t begin = 0; begin < w.columns; begin += kPlainPanel) {
      const size_t count = w.columns - begin < kPlainPanel ? w.columns - begin : kPlainPanel;
      const size_t index = n * w.columns + begin;
      const float* weights = converted;
      if (w.dtype == DType::kF32) {
        weights = reinterpret_cast<const float*>(w.data) + index;
      } else if (w.dtype == DType::kF16) {
        load_f16(reinterpret_cast<const uint16_t*>(w.data) + index, count, converted);
      } else {
        load_bf16(reinterpret_cast<const uint16_t*>(w.data) + index, count, converted);
      }
      for (size_t m = 0; m < x.rows; ++m) {
        float* to = out.row(m) + first_out + n - first;
        const float before = begin > 0 ? *to : bias ? bias[n - first] : 0.0F;
        *to = before + dot_floats(x.row(m) + begin, weights, count);
      }
    }
  }
}

void rms_norm_row(const float* x, const float* weight, float epsilon, size_t columns, float* out) {
  const float scale = 1.0F / __builtin_sqrtf(dot_floats(x, x, columns) / static_cast<float>(columns) + epsilon);
  size_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) store(out + i, mul(mul(load(x + i), broadcast(scale)), load(weight + i)));
  for (; i < columns; ++i) out[i] = x[i] * scale * weight[i];
}

void add_row(const float* delta, float* residual, size_t columns) {
  size_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) store(residual + i, add(load(residual + i), load(delta + i)));
  for (; i < columns; ++i) residual[i] += delta[i];
}

inline Vec silu(Vec x) {
  return divide(x, add(broadcast(1.0F), exponential(minimum(sub(zero(), x), broadcast(88.0F)))));
}

void silu_mul_row(const float* gate, const float* up, size_t columns, float* out) {
  size_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) store(out + i, mul(silu(load(gate + i)), load(up + i)));
  if (i == columns) return;
  float lanes[kLanes] = {};
  for (size_t k = 0; i + k < columns; ++k) lanes[k] = gate[i + k];
  store(lanes, silu(load(lanes)));
  for (size_t k = 0; i + k < columns; ++k) out[i + k] = lanes[k] * up[i + k];
}

void rotate_head(float* head, const float* cosines, const float* sines, size_t head_dim) {
  const size_t half = head_dim / 2;
  size_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const Vec first = load(head + i);
    const Vec second = load(head + half + i);
    const Vec cosine = load(cosines + i);
    const Vec sine = load(sines + i);
    store(head + i, sub(mul(first, cosine), mul(second, sine)));
    store(head + half + i, fma(first, sine, mul(second, cosine)));
  }
  for (; i < half; ++i) {
    const float first = head[i];
    const float second = head[i + half];
    head[i] = first * cosines[i] - second * sines[i];
    head[i + half] = second * cosines[i] + first * sines[i];
  }
}

void store_f16(const float* from, size_t count, uint16_t* to) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store_half(to + i, load(from + i));
  for (; i < count; ++i) to[i] = to_half(from[i]);
}

// One pass over the sequence's blocks: each block's scores rescale what was summed before it (online softmax).
void attend(const KvRows& kv, const AttendRow& row, float* scratch) {
  const uint32_t dim = kv.head_dim;
  const uint32_t group = row.group;
  const uint32_t seen = row.seen;
  const float scale = 1.0F / __builtin_sqrtf(static_cast<float>(dim));
  const size_t padded = (kv.block_tokens + kLanes - 1) / kLanes * kLanes;
  const float* q = row.q;
  float* out = row.out;
  float* token_values = scratch;             // [dim] one key or value as floats
  float* scores = token_values + dim;        // [group][padded]
  float* largest = scores + group * padded;  // [group]
  float* sums = largest + group;             // [group]
  for (uint32_t g = 0; g < group; ++g) {
    largest[g] = -__builtin_inff();
    sums[g] = 0;
    for (uint32_t d = 0; d < dim; ++d) out[g * dim + d] = 0;
  }
  for (uint32_t begin = 0, b = 0; begin < seen; begin += kv.block_tokens, ++b) {
    const uint32_t tokens = seen - begin < kv.block_tokens ? seen - begin : kv.block_tokens;
    const size_t base = row.blocks[b] * kv.block_stride + size_t{row.kv_head} * kv.block_tokens * dim;
    const auto vector_at = [&](size_t index) -> const float* {
      if (!kv.is_half) return reinterpret_cast<const float*>(kv.base) + index;
      load_f16(reinterpret_cast<const uint16_t*>(kv.base) + index, dim, token_values);
      return token_values;
    };
    for (uint32_t t = 0; t < padded; ++t) {
      if (t >= tokens) {
        for (uint32_t g = 0; g < group; ++g) scores[g * padded + t] = -__builtin_inff();
        continue;
      }
      const float* key = vector_at(base + size_t{t} * dim);
      for (uint32_t g = 0; g < group; ++g) scores[g * padded + t] = dot_floats(q + g * dim, key, dim) * scale;
    }
    for (uint32_t g = 0; g < group; ++g) {
      Vec most = broadcast(largest[g]);
      for (size_t t = 0; t < padded; t += kLanes) most = maximum(most, load(scores + g * padded + t));
      const float now = largest_of(most);
      float keep[kLanes];
      store(keep, exponential(broadcast(largest[g] - now)));
      const float kept = begin == 0 ? 0.0F : keep[0];
      Vec sum = zero();
      for (size_t t = 0; t < padded; t += kLanes) {
        Vec weights = exponential(sub(load(scores + g * padded + t), broadcast(now)));
        store(scores + g * padded + t, weights);
      }
      for (uint32_t t = tokens; t < padded; ++t) scores[g * padded + t] = 0;
      for (size_t t = 0; t < padded; t += kLanes) sum = add(sum, load(scores + g * padded + t));
      sums[g] = sums[g] * kept + sum_of(sum);
      largest[g] = now;
      if (begin > 0) {
        uint32_t d = 0;
        for (; d + kLanes <= dim; d += kLanes) store(out + g * dim + d, mul(load(out + g * dim + d), broadcast(kept)));
        for (; d < dim; ++d) out[g * dim + d] *= kept;
      }
    }
    for (uint32_t t = 0; t < tokens; ++t) {
      const float* value = vector_at(base + kv.value_offset + size_t{t} * dim);
      for (uint32_t g = 0; g < group; ++g) {
        const float weight = scores[g * padded + t];
        uint32_t d = 0;
        for (; d + kLanes <= dim; d += kLanes)
          store(out + g * dim + d, fma(load(value + d), broadcast(weight), load(out + g * dim + d)));
        for (; d < dim; ++d) out[g * dim + d] += value[d] * weight;
      }
    }
  }
  for (uint32_t g = 0; g < group; ++g) {
    const float inverse = 1.0F / sums[g];
    for (uint32_t d = 0; d < dim; ++d) out[g * dim + d] *= inverse;
  }
}
