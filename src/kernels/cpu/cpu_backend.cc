#include "kernels/cpu/cpu_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "base/check.h"
#include "base/usable_cores.h"
#include "kernels/cpu/cpu_matrix.h"
#include "kernels/cpu/cpu_step.h"
#include "kernels/cpu/sampler.h"
#include "kernels/cpu/thread_pool.h"

namespace dynamo::kernels {
namespace {

FloatRows floats_of(const Tensor& tensor) {
  CHECK(tensor.buffer != nullptr && tensor.dtype == DType::kF32 && tensor.buffer->memory().kind == MemoryKind::kHost);
  CHECK(tensor.rows == 0 ||
        tensor.offset + ((tensor.rows - 1) * tensor.stride + tensor.columns) * sizeof(float) <= tensor.buffer->bytes());
  return {.data = reinterpret_cast<float*>(tensor.data()),
          .rows = tensor.rows,
          .columns = tensor.columns,
          .stride = tensor.stride};
}

// Of a vector of `count` numbers; null if there is none.
const float* vector_of(const Tensor& tensor, size_t count) {
  if (!tensor) return nullptr;
  CHECK(tensor.rows == 1 && tensor.columns == count);
  return floats_of(tensor).data;
}

KvRows kv_of(const KvView& kv) {
  return {.base = kv.buffer->memory().data + kv.offset,
          .is_half = kv.dtype == kv::KvDtype::kF16,
          .block_stride = kv.block_stride,
          .value_offset = kv.value_offset,
          .head_dim = kv.head_dim,
          .block_tokens = kv.block_tokens};
}

// Items [0, count) cut into `parts` runs: the run of part `index`.
std::pair<size_t, size_t> run_of(size_t count, uint32_t parts, uint32_t index) {
  return {count * index / parts, count * (index + 1) / parts};
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(Traits traits, const CpuKernels& kernels, uint32_t threads)
      : traits_(std::move(traits)), kernels_(kernels), pool_(threads), drawn_(traits_.depth), samplers_(threads) {}

  const Traits& traits() const override { return traits_; }
  std::optional<uint64_t> free_bytes() const override { return std::nullopt; }

  Result<std::unique_ptr<Buffer>> allocate(size_t bytes, Sharing sharing) override {
    return make_host_buffer(bytes, sharing);
  }
  Result<std::unique_ptr<Matrix>> pack(std::span<const MatrixSource> sources) override { return pack_matrix(sources); }

  Status upload(const MatrixSource& from, Tensor to) override {
    const FloatRows rows = floats_of(to);
    CHECK(rows.rows == from.rows && rows.columns == from.columns);
    TRY(const CpuMatrixPart part, pack_part(from));
    for (size_t row = 0; row < from.rows; ++row) part.read_row(kernels_, row, rows.row(row));
    return {};
  }

  Status read(Tensor x, std::span<float> out) override {
    const FloatRows rows = floats_of(x);
    CHECK(out.size() == x.rows * x.columns);
    for (size_t i = 0; i < x.rows; ++i) {
      std::memcpy(out.data() + i * x.columns, rows.row(i), x.columns * sizeof(float));
    }
    return {};
  }

  Status begin(const Step& step, const Ops& ops) override {
    CHECK(finished_.size() < traits_.depth);
    step_.set(step);
    finished_.emplace_back();
    ops(step_);
    return {};
  }

  Result<std::vector<Result<DrawnToken>>> finish() override {
    CHECK(!finished_.empty());
    std::vector<Result<DrawnToken>> drawn = std::move(finished_.front());
    finished_.pop_front();
    return drawn;
  }

  void embed(const Matrix& table, const StepView& view, Tensor out) override {
    const CpuStep& step = of(view);
    const auto& matrix = static_cast<const CpuMatrix&>(table);
    const FloatRows to = floats_of(out);
    CHECK(out.rows == step.rows() && out.columns == table.columns());
    for (size_t row = 0; row < out.rows; ++row) {
      TokenId token = step.step().tokens[row];
      if (token == kDrawnLast) token = drawn_.last(step.sequence_of(row).seat);
      CHECK(token < table.rows());
      const CpuMatrixPart& part =
          *std::ranges::find_if(matrix.parts, [&](const auto& one) { return token < one.first_row + one.rows; });
      part.read_row(kernels_, token - part.first_row, to.row(row));
    }
  }

  void rms_norm(Tensor x, Tensor weight, float epsilon, Tensor out) override {
    CHECK(x.rows == out.rows && x.columns == out.columns);
    const FloatRows from = floats_of(x);
    const FloatRows to = floats_of(out);
    const float* w = vector_of(weight, x.columns);
    for_rows(x.rows, x.columns,
             [&](size_t row) { kernels_.rms_norm_row(from.row(row), w, epsilon, x.columns, to.row(row)); });
  }

  void add_rms_norm(Tensor delta, Tensor residual, Tensor weight, float epsilon, Tensor out) override {
    CHECK(delta.rows == residual.rows && delta.columns == residual.columns && residual.rows == out.rows &&
          residual.columns == out.columns);
    const FloatRows from = floats_of(delta);
    const FloatRows sum = floats_of(residual);
    const FloatRows to = floats_of(out);
    const float* w = vector_of(weight, out.columns);
    for_rows(delta.rows, delta.columns, [&](size_t row) {
      kernels_.add_row(from.row(row), sum.row(row), sum.columns);
      kernels_.rms_norm_row(sum.row(row), w, epsilon, sum.columns, to.row(row));
    });
  }

  void matmul(Tensor x, const Matrix& w, Tensor bias, Tensor out) override {
    const auto& matrix = static_cast<const CpuMatrix&>(w);
    const FloatRows from = floats_of(x);
    const FloatRows to = floats_of(out);
    const float* b = vector_of(bias, w.rows());
    CHECK(x.columns == w.columns() && out.columns == w.rows() && out.rows == x.rows && from.data != to.data);
    const bool has_quant = std::ranges::any_of(matrix.parts, [](const auto& part) { return part.is_quant(); });
    QuantRows quant;
    if (has_quant) quant = quantize(from);
    pool_.run([&](uint32_t index) {
      for (const CpuMatrixPart& part : matrix.parts) {
        const auto [first, last] = run_of(part.rows, pool_.threads(), index);
        const float* part_bias = b ? b + part.first_row + first : nullptr;
        const size_t first_out = part.first_row + first;
        if (part.is_quant()) {
          kernels_.matmul_quant(part.quant(), quant, first, last, part_bias, to, first_out);
        } else {
          kernels_.matmul_plain(part.plain(), from, first, last, part_bias, to, first_out);
        }
      }
    });
  }

  void rope_append(const StepView& view, const RopeAppendArgs& args) override {
    const CpuStep& step = of(view);
    const FloatRows qkv = floats_of(args.qkv);
    CHECK(qkv.rows == step.rows() && qkv.columns == (args.heads + 2 * size_t{args.kv.kv_heads}) * args.kv.head_dim);
    check_kv(step, args.kv);
    for_rows(qkv.rows, qkv.columns, [&](size_t row) { rope_append_row(args, step, row, qkv.row(row)); });
  }

  void attention(const StepView& view, const AttentionArgs& args) override {
    const CpuStep& step = of(view);
    const FloatRows q = floats_of(args.q);
    const FloatRows out = floats_of(args.out);
    CHECK(args.heads % args.kv.kv_heads == 0 && q.rows == step.rows() && out.rows == q.rows);
    CHECK(q.columns == size_t{args.heads} * args.kv.head_dim && out.columns == q.columns);
    check_kv(step, args.kv);
    if (step.step().gets_on) step.step().gets_on();
    const KvRows kv = kv_of(args.kv);
    const uint32_t group = args.heads / args.kv.kv_heads;
    const size_t scratch = attend_scratch(group, kv);
    attention_scratch_.resize(pool_.threads() * scratch);
    pool_.run([&](uint32_t index) {
      // Rows later in a prompt see more tokens: dealing them out in turn evens the threads' work.
      for (size_t item = index; item < q.rows * args.kv.kv_heads; item += pool_.threads()) {
        const size_t row = item / args.kv.kv_heads;
        const auto kv_head = static_cast<uint32_t>(item % args.kv.kv_heads);
        const size_t first = size_t{kv_head} * group * kv.head_dim;
        kernels_.attend(kv,
                        {.q = q.row(row) + first,
                         .out = out.row(row) + first,
                         .group = group,
                         .kv_head = kv_head,
                         .seen = step.step().paged.positions[row] + 1,
                         .blocks = step.blocks_of(row)},
                        attention_scratch_.data() + index * scratch);
      }
    });
  }

  void silu_mul(Tensor gate_up, Tensor out) override {
    CHECK(gate_up.rows == out.rows && gate_up.columns == 2 * out.columns);
    const FloatRows from = floats_of(gate_up);
    const FloatRows to = floats_of(out);
    for_rows(to.rows, from.columns, [&](size_t row) {
      kernels_.silu_mul_row(from.row(row), from.row(row) + to.columns, to.columns, to.row(row));
    });
  }

  void gather_drawn(const StepView& view, Tensor x, Tensor out) override {
    const CpuStep& step = of(view);
    const FloatRows from = floats_of(x);
    const FloatRows to = floats_of(out);
    CHECK(x.rows == step.rows() && out.rows == step.draws() && out.columns == x.columns);
    for (size_t i = 0; i < out.rows; ++i) {
      std::memcpy(to.row(i), from.row(step.step().draws[i].row), x.columns * sizeof(float));
    }
  }

  void sample(const StepView& view, Tensor logits) override {
    const CpuStep& step = of(view);
    const FloatRows rows = floats_of(logits);
    CHECK(rows.rows == step.draws());
    std::vector<Result<DrawnToken>>& results = finished_.back();
    results.assign(step.draws(), DrawnToken{});
    const auto draw_for = [&](uint32_t first, uint32_t by) {
      for (uint32_t i = first; i < step.draws(); i += by) {
        const Draw& draw = step.step().draws[i];
        results[i] = samplers_[first].draw({rows.row(i), rows.columns}, draw, drawn_);
      }
    };
    if (step.draws() > 1) {
      pool_.run([&](uint32_t index) { draw_for(index, pool_.threads()); });
    } else {
      draw_for(0, 1);
    }
    for (uint32_t i = 0; i < step.draws(); ++i) {
      const Draw& draw = step.step().draws[i];
      drawn_.put(draw.seat, draw.index, results[i].is_ok() ? results[i]->token : 0);
    }
  }

 private:
  const CpuStep& of(const StepView& view) const {
    CHECK(&view == &step_);
    return step_;
  }
  void check_kv(const CpuStep& step, const KvView& kv) const {
    CHECK(kv.buffer != nullptr && kv.dtype == traits_.kv && kv.block_tokens == step.step().paged.block_tokens);
  }

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

  QuantRows quantize(const FloatRows& x) {
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

  void rope_append_row(const RopeAppendArgs& args, const CpuStep& step, size_t row, float* qkv) {
    const KvRows kv = kv_of(args.kv);
    const size_t pairs = kv.head_dim / 2;
    const uint32_t position = step.step().paged.positions[row];
    const Tensor& table = args.rope.cosines;
    CHECK(position < table.rows && table.columns == pairs && args.rope.sines.columns == pairs);
    const float* cosines = floats_of(table).row(position);
    const float* sines = floats_of(args.rope.sines).row(position);
    const float* q_norm = vector_of(args.q_norm, kv.head_dim);
    const float* k_norm = vector_of(args.k_norm, kv.head_dim);
    const uint32_t block = step.blocks_of(row)[position / kv.block_tokens];
    for (uint32_t head = 0; head < args.heads + 2 * args.kv.kv_heads; ++head) {
      float* values = qkv + size_t{head} * kv.head_dim;
      const bool is_query = head < args.heads;
      const bool is_value = head >= args.heads + args.kv.kv_heads;
      if (!is_value) {
        const float* norm = is_query ? q_norm : k_norm;
        if (norm) kernels_.rms_norm_row(values, norm, args.norm_epsilon, kv.head_dim, values);
        kernels_.rotate_head(values, cosines, sines, kv.head_dim);
      }
      if (is_query) continue;
      const uint32_t kv_head = (head - args.heads) % args.kv.kv_heads;
      const size_t place = block * kv.block_stride + (is_value ? kv.value_offset : 0) +
                           (size_t{kv_head} * kv.block_tokens + position % kv.block_tokens) * kv.head_dim;
      if (kv.is_half) {
        kernels_.store_f16(values, kv.head_dim, reinterpret_cast<uint16_t*>(kv.base) + place);
      } else {
        std::memcpy(reinterpret_cast<float*>(kv.base) + place, values, kv.head_dim * sizeof(float));
      }
    }
  }

  const Traits traits_;
  const CpuKernels& kernels_;
  ThreadPool pool_;
  CpuStep step_;       // the one that begin() computes
  DrawnTokens drawn_;  // by seat
  std::deque<std::vector<Result<DrawnToken>>> finished_;
  std::vector<Sampler> samplers_;  // one per thread
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

Result<std::unique_ptr<Backend>> make_cpu_backend(const BackendOptions& options) {
  const CpuLevel level = options.cpu_level.value_or(supported_cpu_levels().back());
  if (!can_run(level)) {
    return unsupported(fmt::format("this processor cannot run the {} kernels: they need {}", cpu_level_name(level),
                                   level == CpuLevel::kAvx2 ? "AVX2, FMA and F16C" : "AVX-512 F, BW, VL, DQ and VNNI"));
  }
  const kv::KvDtype kv = options.kv.value_or(kv::KvDtype::kF16);
  if (kv == kv::KvDtype::kBF16) return unsupported("a KV cache of BF16 on a CPU: it can be F16 or F32");
  const uint32_t threads = options.threads > 0 ? options.threads : usable_cores();
  Traits traits{
      .name = fmt::format("cpu-{}, {} thread{}", cpu_level_name(level), threads, threads == 1 ? "" : "s"),
      .activations = DType::kF32,
      .kv = kv,
      .memory = MemoryKind::kHost,
      .device = 0,
      .depth = std::max(1U, options.depth),
      .is_batch_invariant = true,
      .max_batch_tokens = 512,
      .max_sequences = 64,
  };
  return std::unique_ptr<Backend>(std::make_unique<CpuBackend>(std::move(traits), kernels_of(level), threads));
}

}  // namespace dynamo::kernels
