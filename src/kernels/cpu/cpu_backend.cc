#include "kernels/cpu/cpu_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/check.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/half.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/usable_cores.h"

namespace dynamo::kernels {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kSlack = 64;  // bytes behind every allocation that a vector load may touch

class HostBuffer final : public Buffer {
 public:
  static Result<std::unique_ptr<Buffer>> make(size_t bytes) {
    // calloc gives untouched pages for large sizes, so that a cache costs memory only where it is used.
    void* memory = std::calloc(bytes + kAlignment + kSlack, 1);
    if (!memory) return exhausted(fmt::format("no memory for {} bytes", bytes));
    return std::unique_ptr<Buffer>(new HostBuffer(memory, bytes));
  }
  ~HostBuffer() override { std::free(memory_); }  // NOLINT: calloc's
  std::byte* data() const override {
    const auto address = reinterpret_cast<uintptr_t>(memory_);
    return reinterpret_cast<std::byte*>((address + kAlignment - 1) / kAlignment * kAlignment);
  }
  size_t bytes() const override { return bytes_; }

 private:
  HostBuffer(void* memory, size_t bytes) : memory_(memory), bytes_(bytes) {}
  void* memory_;
  size_t bytes_;
};

// Stacked rows of one dtype.
struct Part {
  DType dtype = DType::kF32;
  size_t first_row = 0;
  size_t rows = 0;
  size_t padded_blocks = 0;
  std::unique_ptr<Buffer> codes;  // or plain elements
  std::unique_ptr<Buffer> scales;
  std::unique_ptr<Buffer> minima;

  bool is_quant() const { return block_elements(dtype) > 1; }
  size_t bytes() const { return codes->bytes() + (scales ? scales->bytes() : 0) + (minima ? minima->bytes() : 0); }
};

class CpuMatrix final : public Matrix {
 public:
  CpuMatrix(size_t rows, size_t columns, size_t bytes, std::vector<Part> parts)
      : Matrix(rows, columns, bytes), parts(std::move(parts)) {}
  const std::vector<Part> parts;
};

uint16_t half_at(const std::byte* from) {
  uint16_t bits = 0;
  std::memcpy(&bits, from, sizeof(bits));
  return bits;
}

Result<Part> pack_plain(const MatrixSource& source) {
  Part part;
  part.dtype = source.dtype;
  part.rows = source.rows;
  const size_t bytes = source.rows * row_bytes(source.dtype, source.columns);
  TRY(part.codes, HostBuffer::make(bytes));
  std::memcpy(part.codes->data(), source.data, bytes);
  return part;
}

// Takes the blocks apart: codes, scales and minima each in an array of their own.
Result<Part> pack_quant(const MatrixSource& source) {
  const size_t blocks = source.columns / kQuantBlock;
  const bool has_nibbles = source.dtype != DType::kQ8_0;
  const size_t code_bytes = has_nibbles ? kQuantBlock / 2 : kQuantBlock;
  const size_t head_bytes = source.dtype == DType::kQ4_1 ? 4 : 2;
  Part part;
  part.dtype = source.dtype;
  part.rows = source.rows;
  part.padded_blocks = (blocks + kScalePadding - 1) / kScalePadding * kScalePadding;
  TRY(part.codes, HostBuffer::make(source.rows * blocks * code_bytes));
  TRY(part.scales, HostBuffer::make(source.rows * part.padded_blocks * sizeof(uint16_t)));
  if (has_nibbles) {
    TRY(part.minima, HostBuffer::make(source.rows * part.padded_blocks * sizeof(uint16_t)));
  }
  auto* scales = reinterpret_cast<uint16_t*>(part.scales->data());
  auto* minima = has_nibbles ? reinterpret_cast<uint16_t*>(part.minima->data()) : nullptr;
  const std::byte* from = source.data;
  for (size_t row = 0; row < source.rows; ++row) {
    for (size_t block = 0; block < blocks; ++block, from += block_bytes(source.dtype)) {
      const size_t index = row * part.padded_blocks + block;
      scales[index] = half_at(from);
      if (source.dtype == DType::kQ4_1) minima[index] = half_at(from + 2);
      if (source.dtype == DType::kQ4_0) minima[index] = float_to_half(-8.0F * half_to_float(scales[index]));
      std::memcpy(part.codes->data() + (row * blocks + block) * code_bytes, from + head_bytes, code_bytes);
    }
  }
  return part;
}

QuantMatrix quant_view(const Part& part, size_t columns) {
  return {.codes = reinterpret_cast<const uint8_t*>(part.codes->data()),
          .scales = reinterpret_cast<const uint16_t*>(part.scales->data()),
          .minima = part.minima ? reinterpret_cast<const uint16_t*>(part.minima->data()) : nullptr,
          .columns = columns,
          .padded_blocks = part.padded_blocks};
}

// Items [0, count) cut into `parts` runs: the run of part `index`.
std::pair<size_t, size_t> run_of(size_t count, uint32_t parts, uint32_t index) {
  return {count * index / parts, count * (index + 1) / parts};
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(CpuLevel level, const CpuKernels& kernels, uint32_t threads)
      : level_(level), kernels_(kernels), pool_(threads) {}

  std::string name() const override {
    return fmt::format("cpu-{}, {} thread{}", cpu_level_name(level_), pool_.threads(), pool_.threads() == 1 ? "" : "s");
  }

  Result<std::unique_ptr<Buffer>> allocate(size_t bytes) override { return HostBuffer::make(bytes); }

  Result<std::unique_ptr<Matrix>> pack(std::span<const MatrixSource> sources) override {
    CHECK(!sources.empty());
    const size_t columns = sources.front().columns;
    size_t rows = 0;
    size_t bytes = 0;
    std::vector<Part> parts;
    for (const MatrixSource& source : sources) {
      CHECK(source.columns == columns && columns % block_elements(source.dtype) == 0);
      TRY(Part part, block_elements(source.dtype) > 1 ? pack_quant(source) : pack_plain(source));
      part.first_row = rows;
      rows += source.rows;
      bytes += part.bytes();
      parts.push_back(std::move(part));
    }
    std::unique_ptr<Matrix> matrix = std::make_unique<CpuMatrix>(rows, columns, bytes, std::move(parts));
    return matrix;
  }

  void embed(const Matrix& table, std::span<const TokenId> ids, View out) override {
    const auto& matrix = static_cast<const CpuMatrix&>(table);
    CHECK(out.rows == ids.size() && out.columns == table.columns());
    for (size_t i = 0; i < ids.size(); ++i) {
      CHECK(ids[i] < table.rows());
      const Part& part =
          *std::ranges::find_if(matrix.parts, [&](const Part& one) { return ids[i] < one.first_row + one.rows; });
      embed_row(part, ids[i] - part.first_row, table.columns(), out.row(i));
    }
  }

  void rms_norm(View x, const float* weight, float epsilon, View out) override {
    CHECK(x.rows == out.rows && x.columns == out.columns);
    for_rows(x.rows, x.columns,
             [&](size_t row) { kernels_.rms_norm_row(x.row(row), weight, epsilon, x.columns, out.row(row)); });
  }

  void add_rms_norm(View delta, View residual, const float* weight, float epsilon, View out) override {
    CHECK(delta.rows == residual.rows && delta.columns == residual.columns && residual.rows == out.rows &&
          residual.columns == out.columns);
    for_rows(delta.rows, delta.columns, [&](size_t row) {
      kernels_.add_row(delta.row(row), residual.row(row), residual.columns);
      kernels_.rms_norm_row(residual.row(row), weight, epsilon, residual.columns, out.row(row));
    });
  }

  void matmul(View x, const Matrix& w, const float* bias, View out) override {
    const auto& matrix = static_cast<const CpuMatrix&>(w);
    CHECK(x.columns == w.columns() && out.columns == w.rows() && out.rows == x.rows && x.data != out.data);
    const bool has_quant = std::ranges::any_of(matrix.parts, [](const Part& part) { return part.is_quant(); });
    QuantRows quant;
    if (has_quant) quant = quantize(x);
    pool_.run([&](uint32_t index) {
      for (const Part& part : matrix.parts) {
        const auto [first, last] = run_of(part.rows, pool_.threads(), index);
        const float* part_bias = bias ? bias + part.first_row + first : nullptr;
        if (part.is_quant()) {
          kernels_.matmul_quant(quant_view(part, w.columns()), quant, first, last, part_bias, out,
                                part.first_row + first);
        } else {
          kernels_.matmul_plain({part.dtype, part.codes->data(), w.columns()}, x, first, last, part_bias, out,
                                part.first_row + first);
        }
      }
    });
  }

  void rope_append(const RopeAppendArgs& args) override {
    CHECK(args.qkv.rows == args.batch->rows());
    CHECK(args.qkv.columns == (args.heads + 2 * size_t{args.kv.kv_heads}) * args.kv.head_dim);
    CHECK(args.kv.block_tokens == args.batch->block_tokens);
    const std::vector<uint32_t> sequence_of = sequences_of_rows(*args.batch);
    for_rows(args.qkv.rows, args.qkv.columns,
             [&](size_t row) { rope_append_row(args, args.batch->sequences[sequence_of[row]], row); });
  }

  void attention(const AttentionArgs& args) override {
    CHECK(args.heads % args.kv.kv_heads == 0 && args.q.rows == args.batch->rows() && args.out.rows == args.q.rows);
    CHECK(args.q.columns == size_t{args.heads} * args.kv.head_dim && args.out.columns == args.q.columns);
    const std::vector<uint32_t> sequence_of = sequences_of_rows(*args.batch);
    const size_t group = args.heads / args.kv.kv_heads;
    const size_t scratch = args.kv.head_dim + group * (args.kv.block_tokens + 2 + 2 * kScalePadding);
    attention_scratch_.resize(pool_.threads() * scratch);
    pool_.run([&](uint32_t index) {
      // Rows later in a prompt see more tokens: dealing them out in turn evens the threads' work.
      for (size_t item = index; item < args.q.rows * args.kv.kv_heads; item += pool_.threads()) {
        const size_t row = item / args.kv.kv_heads;
        kernels_.attend(args, args.batch->sequences[sequence_of[row]], row,
                        static_cast<uint32_t>(item % args.kv.kv_heads), attention_scratch_.data() + index * scratch);
      }
    });
  }

  void silu_mul(View gate_up, View out) override {
    CHECK(gate_up.rows == out.rows && gate_up.columns == 2 * out.columns);
    for_rows(out.rows, gate_up.columns, [&](size_t row) {
      kernels_.silu_mul_row(gate_up.row(row), gate_up.row(row) + out.columns, out.columns, out.row(row));
    });
  }

  void gather_rows(View x, std::span<const uint32_t> rows, View out) override {
    CHECK(out.rows == rows.size() && out.columns == x.columns);
    for (size_t i = 0; i < rows.size(); ++i) std::memcpy(out.row(i), x.row(rows[i]), x.columns * sizeof(float));
  }

  void copy_out(View x, std::span<float> out) override {
    CHECK(out.size() == x.rows * x.columns);
    for (size_t i = 0; i < x.rows; ++i) std::memcpy(out.data() + i * x.columns, x.row(i), x.columns * sizeof(float));
  }

 private:
  // Calls work(row) for every row, on several threads when that is worth waking them.
  template <class Work>
  void for_rows(size_t rows, size_t columns, const Work& work) {
    constexpr size_t kWorthwhile = 16384;  // elements
    if (rows * columns < kWorthwhile || rows == 1) {
      for (size_t row = 0; row < rows; ++row) work(row);
      return;
    }
    pool_.run([&](uint32_t index) {
      const auto [first, last] = run_of(rows, pool_.threads(), index);
      for (size_t row = first; row < last; ++row) work(row);
    });
  }

  QuantRows quantize(View x) {
    const size_t blocks = x.columns / kQuantBlock;
    const size_t padded = (blocks + kScalePadding - 1) / kScalePadding * kScalePadding;
    quant_values_.resize(x.rows * x.columns);
    quant_scales_.assign(x.rows * padded, 0.0F);
    quant_sums_.assign(x.rows * padded, 0.0F);
    for_rows(x.rows, x.columns, [&](size_t row) {
      kernels_.quantize_row(x.row(row), x.columns, quant_values_.data() + row * x.columns,
                            quant_scales_.data() + row * padded, quant_sums_.data() + row * padded);
    });
    return {quant_values_.data(), quant_scales_.data(), quant_sums_.data(), x.rows, x.columns, padded};
  }

  void embed_row(const Part& part, size_t row, size_t columns, float* out) {
    if (part.dtype == DType::kF32) {
      std::memcpy(out, part.codes->data() + row * columns * sizeof(float), columns * sizeof(float));
      return;
    }
    const auto* bits = reinterpret_cast<const uint16_t*>(part.codes->data()) + row * columns;
    if (part.dtype == DType::kF16) return kernels_.load_f16(bits, columns, out);
    if (part.dtype == DType::kBF16) {
      for (size_t i = 0; i < columns; ++i) out[i] = bf16_to_float(bits[i]);
      return;
    }
    const QuantMatrix w = quant_view(part, columns);
    const uint8_t* codes = w.codes + row * (w.minima ? columns / 2 : columns);
    for (size_t i = 0; i < columns; ++i) {
      const size_t block = i / kQuantBlock;
      const float scale = half_to_float(w.scales[row * w.padded_blocks + block]);
      if (!w.minima) {
        out[i] = scale * static_cast<float>(static_cast<int8_t>(codes[i]));
        continue;
      }
      const uint8_t byte = codes[block * 16 + i % 16];
      const int nibble = i % kQuantBlock < 16 ? byte & 15 : byte >> 4;
      out[i] = scale * static_cast<float>(nibble) + half_to_float(w.minima[row * w.padded_blocks + block]);
    }
  }

  void rope_append_row(const RopeAppendArgs& args, const PagedBatch::Sequence& sequence, size_t row) {
    const KvView& kv = args.kv;
    const uint32_t position = args.batch->positions[row];
    CHECK(position < args.rope.positions);
    const float* cosines = args.rope.cosines + size_t{position} * kv.head_dim / 2;
    const float* sines = args.rope.sines + size_t{position} * kv.head_dim / 2;
    const uint32_t block = args.batch->block_table[sequence.first_block + position / kv.block_tokens];
    for (uint32_t head = 0; head < args.heads + 2 * kv.kv_heads; ++head) {
      float* values = args.qkv.row(row) + size_t{head} * kv.head_dim;
      const bool is_query = head < args.heads;
      const bool is_value = head >= args.heads + kv.kv_heads;
      if (!is_value) {
        const float* norm = is_query ? args.q_norm : args.k_norm;
        if (norm) kernels_.rms_norm_row(values, norm, args.norm_epsilon, kv.head_dim, values);
        kernels_.rotate_head(values, cosines, sines, kv.head_dim);
      }
      if (is_query) continue;
      const uint32_t kv_head = (head - args.heads) % kv.kv_heads;
      const size_t place = block * kv.block_stride + (is_value ? kv.value_offset : 0) +
                           (size_t{kv_head} * kv.block_tokens + position % kv.block_tokens) * kv.head_dim;
      if (kv.dtype == kv::KvDtype::kF32) {
        std::memcpy(reinterpret_cast<float*>(kv.base) + place, values, kv.head_dim * sizeof(float));
      } else {
        kernels_.store_f16(values, kv.head_dim, reinterpret_cast<uint16_t*>(kv.base) + place);
      }
    }
  }

  static std::vector<uint32_t> sequences_of_rows(const PagedBatch& batch) {
    std::vector<uint32_t> sequence_of(batch.rows());
    for (uint32_t i = 0; i < batch.sequences.size(); ++i) {
      const PagedBatch::Sequence& sequence = batch.sequences[i];
      CHECK(sequence.first_row + sequence.rows <= batch.rows() && sequence.rows <= sequence.length);
      std::fill_n(sequence_of.begin() + sequence.first_row, sequence.rows, i);
    }
    return sequence_of;
  }

  CpuLevel level_;
  const CpuKernels& kernels_;
  ThreadPool pool_;
  std::vector<int16_t> quant_values_;
  std::vector<float> quant_scales_;
  std::vector<float> quant_sums_;
  std::vector<float> attention_scratch_;
};

bool can_run(CpuLevel level) {
  switch (level) {
    case CpuLevel::kScalar:
      return true;
    case CpuLevel::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    case CpuLevel::kAvx512:
      return can_run(CpuLevel::kAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vnni");
  }
  return false;
}

const CpuKernels& kernels_of(CpuLevel level) {
  if (level == CpuLevel::kAvx512) return avx512_kernels();
  return level == CpuLevel::kAvx2 ? avx2_kernels() : scalar_kernels();
}

}  // namespace

std::string_view cpu_level_name(CpuLevel level) {
  static constexpr std::string_view kNames[] = {"scalar", "avx2", "avx512"};
  return kNames[static_cast<size_t>(level)];
}

std::optional<CpuLevel> parse_cpu_level(std::string_view name) {
  for (const CpuLevel level : {CpuLevel::kScalar, CpuLevel::kAvx2, CpuLevel::kAvx512}) {
    if (cpu_level_name(level) == name) return level;
  }
  return std::nullopt;
}

std::vector<CpuLevel> supported_cpu_levels() {
  std::vector<CpuLevel> levels;
  for (const CpuLevel level : {CpuLevel::kScalar, CpuLevel::kAvx2, CpuLevel::kAvx512}) {
    if (can_run(level)) levels.push_back(level);
  }
  return levels;
}

Result<std::unique_ptr<Backend>> make_cpu_backend(CpuOptions options) {
  const CpuLevel level = options.level.value_or(supported_cpu_levels().back());
  if (!can_run(level)) {
    return unsupported(fmt::format("this processor cannot run the {} kernels: they need {}", cpu_level_name(level),
                                   level == CpuLevel::kAvx2 ? "AVX2, FMA and F16C" : "AVX-512 F, BW, VL, DQ and VNNI"));
  }
  const uint32_t threads = options.threads > 0 ? options.threads : usable_cores();
  std::unique_ptr<Backend> backend = std::make_unique<CpuBackend>(level, kernels_of(level), threads);
  return backend;
}

}  // namespace dynamo::kernels
