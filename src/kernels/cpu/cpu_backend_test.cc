#include "kernels/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "kernels/cpu/half.h"

namespace dynamo::kernels {
namespace {

std::vector<float> random_floats(size_t count, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

View view_of(std::vector<float>* values, size_t rows) {
  const size_t columns = values->size() / rows;
  return {values->data(), rows, columns, columns};
}

// A random matrix in a file's format, and the numbers it stands for.
struct TestMatrix {
  TestMatrix(DType dtype, size_t rows, size_t columns, uint32_t seed) : dtype(dtype), rows(rows), columns(columns) {
    std::mt19937 random(seed);
    bytes.resize(rows * row_bytes(dtype, columns));
    exact.resize(rows * columns);
    const auto small_half = [&] {
      return float_to_half(static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 20000.0F);
    };
    const auto put_half = [&](size_t at, uint16_t bits) { std::memcpy(bytes.data() + at, &bits, 2); };
    const size_t per_block = block_elements(dtype);
    for (size_t block = 0; block < exact.size() / per_block; ++block) {
      const size_t at = block * block_bytes(dtype);
      double* out = exact.data() + block * per_block;
      const uint16_t d = small_half();
      const uint16_t m = small_half();
      const double scale = half_to_float(d);
      switch (dtype) {
        case DType::kF32: {
          const float value = half_to_float(d) * 3.1F;
          std::memcpy(bytes.data() + at, &value, 4);
          out[0] = value;
          break;
        }
        case DType::kF16:
          put_half(at, d);
          out[0] = scale;
          break;
        case DType::kBF16:
          put_half(at, static_cast<uint16_t>(std::bit_cast<uint32_t>(half_to_float(d)) >> 16));
          out[0] = bf16_to_float(static_cast<uint16_t>(std::bit_cast<uint32_t>(half_to_float(d)) >> 16));
          break;
        default:
          put_half(at, d);
          if (dtype == DType::kQ4_1) put_half(at + 2, m);
          const size_t head = dtype == DType::kQ4_1 ? 4 : 2;
          for (size_t i = 0; i < 32; ++i) {
            if (dtype == DType::kQ8_0) {
              const auto code = static_cast<int8_t>(random() % 255 - 127);
              bytes[at + head + i] = static_cast<std::byte>(code);
              out[i] = scale * code;
            } else {
              const auto code = static_cast<uint8_t>(random() % 16);
              bytes[at + head + i % 16] |= static_cast<std::byte>(i < 16 ? code : code << 4);
              out[i] = dtype == DType::kQ4_0 ? scale * (code - 8) : scale * code + half_to_float(m);
            }
          }
      }
    }
  }
  MatrixSource source() const { return {dtype, rows, columns, bytes.data()}; }

  DType dtype;
  size_t rows;
  size_t columns;
  std::vector<std::byte> bytes;
  std::vector<double> exact;
};

class CpuLevelTest : public testing::TestWithParam<CpuLevel> {
 protected:
  void SetUp() override {
    const auto levels = supported_cpu_levels();
    if (std::ranges::find(levels, GetParam()) == levels.end())
      GTEST_SKIP() << "this machine cannot run " << cpu_level_name(GetParam());
    for (const uint32_t threads : {1, 2, 3}) backends_.push_back(make_cpu_backend({GetParam(), threads}).value());
  }
  std::vector<std::unique_ptr<Backend>> backends_;
};

TEST_P(CpuLevelTest, MatmulIsTheExactProductForEveryDtypeAndDoesNotDependOnTheBatch) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1}) {
    for (const auto& [rows, columns] : {std::pair<size_t, size_t>{1, 32}, {7, 96}, {33, 576}, {16, 1536}}) {
      const TestMatrix a(dtype, rows, columns, 1);
      const TestMatrix b(DType::kQ8_0, 3, columns, 2);  // stacked under it
      const std::vector<MatrixSource> parts = {a.source(), b.source()};
      const std::vector<float> bias = random_floats(rows + 3, 3);
      constexpr size_t kRows = 67;
      std::vector<float> x = random_floats(kRows * columns, 4);
      std::vector<float> expected;
      for (auto& backend : backends_) {
        const auto packed = backend->pack(parts).value();
        std::vector<float> all(kRows * (rows + 3));
        backend->matmul(view_of(&x, kRows), *packed, bias.data(), view_of(&all, kRows));
        if (expected.empty()) expected = all;
        ASSERT_EQ(all, expected);  // the number of threads changes no bit
        for (const size_t count : {1, 2, 3, 5, 16, 17, 64}) {
          std::vector<float> some(count * (rows + 3));
          backend->matmul({x.data() + columns, count, columns, columns}, *packed, bias.data(), view_of(&some, count));
          ASSERT_TRUE(std::equal(some.begin(), some.end(), all.begin() + static_cast<std::ptrdiff_t>(rows + 3)))
              << dtype_name(dtype) << ' ' << count;
        }
      }
      for (size_t m = 0; m < kRows; ++m) {
        for (size_t n = 0; n < rows + 3; ++n) {
          const double* w = n < rows ? a.exact.data() + n * columns : b.exact.data() + (n - rows) * columns;
          double exact = bias[n];
          double norm = 0;
          for (size_t i = 0; i < columns; ++i) {
            exact += x[m * columns + i] * w[i];
            norm += w[i] * w[i];
          }
          ASSERT_NEAR(expected[m * (rows + 3) + n], exact, 2e-5 * (1 + std::sqrt(norm * static_cast<double>(columns))))
              << dtype_name(dtype);
        }
      }
    }
  }
}

TEST_P(CpuLevelTest, EmbeddingRowsAreTheWeights) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1}) {
    const TestMatrix table(dtype, 9, 64, 5);
    const std::vector<MatrixSource> parts = {table.source()};
    const auto packed = backends_[0]->pack(parts).value();
    const std::vector<TokenId> ids = {8, 0, 3};
    std::vector<float> out(ids.size() * 64);
    backends_[0]->embed(*packed, ids, view_of(&out, ids.size()));
    for (size_t i = 0; i < out.size(); ++i)
      EXPECT_NEAR(out[i], table.exact[ids[i / 64] * 64 + i % 64], 1e-6) << dtype_name(dtype);
  }
}

TEST_P(CpuLevelTest, NormAndActivationAreTheirFormulas) {
  for (const size_t columns : {1, 7, 16, 33, 576}) {
    constexpr size_t kRows = 40;
    std::vector<float> x = random_floats(kRows * columns, 6, 3);
    std::vector<float> delta = random_floats(kRows * columns, 7);
    const std::vector<float> weight = random_floats(columns, 8);
    std::vector<float> residual = x;
    std::vector<float> out(x.size());
    backends_[1]->add_rms_norm(view_of(&delta, kRows), view_of(&residual, kRows), weight.data(), 1e-5F,
                               view_of(&out, kRows));
    for (size_t row = 0; row < kRows; ++row) {
      double squares = 0;
      for (size_t i = row * columns; i < (row + 1) * columns; ++i) squares += std::pow(double{x[i]} + delta[i], 2);
      const double scale = 1 / std::sqrt(squares / static_cast<double>(columns) + 1e-5);
      for (size_t i = 0; i < columns; ++i) {
        const double sum = double{x[row * columns + i]} + delta[row * columns + i];
        ASSERT_NEAR(residual[row * columns + i], sum, 1e-5);
        ASSERT_NEAR(out[row * columns + i], sum * scale * weight[i], 2e-5);
      }
    }
    std::vector<float> gate_up = random_floats(kRows * 2 * columns, 9, 8);
    std::vector<float> activated(kRows * columns);
    backends_[2]->silu_mul(view_of(&gate_up, kRows), view_of(&activated, kRows));
    for (size_t i = 0; i < activated.size(); ++i) {
      const double gate = gate_up[i / columns * 2 * columns + i % columns];
      const double up = gate_up[i / columns * 2 * columns + columns + i % columns];
      const double exact = gate / (1 + std::exp(-gate)) * up;
      ASSERT_NEAR(activated[i], exact, 2e-6 * (1 + std::fabs(exact)));
    }
  }
}

// Sequences of given lengths, computed in chunks, against attention in double precision over everything at once.
class Cached {
 public:
  Cached(uint32_t heads, uint32_t kv_heads, uint32_t dim, uint32_t block_tokens, kv::KvDtype dtype,
         std::vector<uint32_t> lengths)
      : heads(heads),
        kv_heads(kv_heads),
        dim(dim),
        block_tokens(block_tokens),
        dtype(dtype),
        lengths(std::move(lengths)) {
    uint32_t blocks = 0;
    for (const uint32_t length : this->lengths) blocks += (length + block_tokens - 1) / block_tokens;
    std::vector<uint32_t> ids(blocks);
    for (uint32_t i = 0; i < blocks; ++i) ids[i] = i;
    std::ranges::shuffle(ids, std::mt19937(11));
    size_t next = 0;
    for (const uint32_t length : this->lengths) {
      tables.emplace_back();
      for (uint32_t at = 0; at < length; at += block_tokens) tables.back().push_back(ids[next++]);
    }
    pool.resize(size_t{blocks} * 2 * kv_heads * block_tokens * dim);
    for (size_t i = 0; i < this->lengths.size(); ++i)
      qkv.push_back(random_floats(size_t{this->lengths[i]} * width(), 20 + static_cast<uint32_t>(i)));
    for (size_t i = 0; i < 600 * dim / 2; ++i) {
      cosines.push_back(static_cast<float>(std::cos(static_cast<double>(i / (dim / 2)) *
                                                    std::pow(100.0, -2.0 * static_cast<double>(i % (dim / 2)) / dim))));
      sines.push_back(static_cast<float>(std::sin(static_cast<double>(i / (dim / 2)) *
                                                  std::pow(100.0, -2.0 * static_cast<double>(i % (dim / 2)) / dim))));
    }
  }
  size_t width() const { return size_t{heads + 2 * kv_heads} * dim; }
  KvView kv() {
    const size_t side = size_t{kv_heads} * block_tokens * dim;
    return {reinterpret_cast<std::byte*>(pool.data()), dtype, 2 * side, side, kv_heads, dim, block_tokens};
  }
  // Outputs of all rows of all sequences, computed `chunk` rows per sequence and step.
  std::vector<std::vector<float>> run(Backend* backend, uint32_t chunk) {
    std::ranges::fill(pool, 0.0F);
    std::vector<std::vector<float>> outputs(lengths.size());
    for (uint32_t begin = 0;; begin += chunk) {
      PagedBatch batch;
      batch.block_tokens = block_tokens;
      std::vector<float> x;
      for (size_t s = 0; s < lengths.size(); ++s) {
        if (begin >= lengths[s]) continue;
        const uint32_t rows = std::min(chunk, lengths[s] - begin);
        batch.sequences.push_back({batch.rows(), rows, begin + rows, static_cast<uint32_t>(batch.block_table.size())});
        batch.block_table.insert(batch.block_table.end(), tables[s].begin(), tables[s].end());
        for (uint32_t i = begin; i < begin + rows; ++i) batch.positions.push_back(i);
        x.insert(x.end(), qkv[s].begin() + static_cast<std::ptrdiff_t>(begin * width()),
                 qkv[s].begin() + static_cast<std::ptrdiff_t>((begin + rows) * width()));
      }
      if (batch.sequences.empty()) return outputs;
      const View rows = view_of(&x, batch.rows());
      std::vector<float> out(size_t{batch.rows()} * heads * dim);
      backend->rope_append({&batch, rows, heads, nullptr, nullptr, 0, {cosines.data(), sines.data(), 600}, kv()});
      backend->attention({&batch, rows.slice(0, size_t{heads} * dim), heads, kv(), view_of(&out, batch.rows())});
      size_t next = 0;
      for (size_t s = 0; s < lengths.size(); ++s) {
        if (begin >= lengths[s]) continue;
        const size_t count = size_t{std::min(chunk, lengths[s] - begin)} * heads * dim;
        outputs[s].insert(outputs[s].end(), out.begin() + static_cast<std::ptrdiff_t>(next),
                          out.begin() + static_cast<std::ptrdiff_t>(next + count));
        next += count;
      }
    }
  }
  // Row of sequence s in double precision.
  std::vector<double> exact(size_t s, uint32_t position, uint32_t head) const {
    const auto rotated = [&](uint32_t at, uint32_t column) {
      std::vector<double> v(dim);
      for (uint32_t d = 0; d < dim / 2; ++d) {
        const double a = qkv[s][at * width() + column + d];
        const double b = qkv[s][at * width() + column + d + dim / 2];
        const double c = cosines[at * dim / 2 + d];
        const double n = sines[at * dim / 2 + d];
        v[d] = a * c - b * n;
        v[d + dim / 2] = b * c + a * n;
      }
      return v;
    };
    const uint32_t kv_head = head / (heads / kv_heads);
    const auto q = rotated(position, head * dim);
    std::vector<double> out(dim);
    double sum = 0;
    for (uint32_t t = 0; t <= position; ++t) {
      const auto k = rotated(t, (heads + kv_head) * dim);
      double dot = 0;
      for (uint32_t d = 0; d < dim; ++d) dot += q[d] * k[d];
      const double weight = std::exp(dot / std::sqrt(dim));
      sum += weight;
      for (uint32_t d = 0; d < dim; ++d)
        out[d] += weight * qkv[s][t * width() + (heads + kv_heads + kv_head) * dim + d];
    }
    for (double& value : out) value /= sum;
    return out;
  }

  uint32_t heads, kv_heads, dim, block_tokens;
  kv::KvDtype dtype;
  std::vector<uint32_t> lengths;
  std::vector<std::vector<uint32_t>> tables;
  std::vector<float> pool;  // room for fp32; fp16 uses half
  std::vector<std::vector<float>> qkv;
  std::vector<float> cosines, sines;
};

TEST_P(CpuLevelTest, AttentionIsExactAndDoesNotDependOnChunksOrNeighbours) {
  const std::pair<uint32_t, uint32_t> heads[] = {{9, 3}, {4, 4}, {4, 2}, {8, 1}};
  for (const auto& [query, kv] : heads) {
    for (const uint32_t dim : {64, 80, 128, 6}) {
      for (const uint32_t block_tokens : {16, 1, 5, 32}) {
        for (const kv::KvDtype dtype : {kv::KvDtype::kF32, kv::KvDtype::kF16}) {
          Cached cached(query, kv, dim, block_tokens, dtype, {1, 37, 20});
          const auto whole = cached.run(backends_[1].get(), 100);
          for (const uint32_t chunk : {1, 15, 16, 17}) ASSERT_EQ(cached.run(backends_[0].get(), chunk), whole);
          for (size_t s = 0; s < 3; ++s) {
            const uint32_t last = cached.lengths[s] - 1;
            for (uint32_t head = 0; head < query; ++head) {
              const auto exact = cached.exact(s, last, head);
              for (uint32_t d = 0; d < dim; ++d) {
                ASSERT_NEAR(whole[s][(last * query + head) * dim + d], exact[d],
                            dtype == kv::KvDtype::kF32 ? 2e-5 : 4e-3);
              }
            }
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, CpuLevelTest, testing::Values(CpuLevel::kScalar, CpuLevel::kAvx2, CpuLevel::kAvx512),
                         [](const auto& info) { return std::string(cpu_level_name(info.param)); });

TEST(Half, EveryBitPatternSurvivesTheWayThroughFloat) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_half(value), bits);
  }
  EXPECT_EQ(float_to_half(65520), 0x7C00);
  EXPECT_EQ(float_to_half(65519), 0x7BFF);
}

}  // namespace
}  // namespace dynamo::kernels
