// What every backend must do (kernels/backend.h): each operation against its plain definition in double precision,
// batch invariance where the traits say so, steps under way, and drawing. A backend joins by a line at the end; where
// this machine cannot run it, its tests are skipped.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <random>
#include <set>

#include "base/shared_memory.h"
#include "kernels/backend_factory.h"
#include "kernels/testing/test_device.h"

namespace dynamo::kernels {
namespace {

using testing::random_floats;
using testing::TestDevice;
using testing::TestMatrix;

constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1};

struct BackendCase {
  std::string name;
  std::vector<BackendOptions> variants;  // that compute the same bits, as numbers of threads do
};

class BackendContract : public ::testing::TestWithParam<BackendCase> {
 protected:
  void SetUp() override {
    for (const BackendOptions& options : GetParam().variants) {
      auto backend = make_backend(options);
      if (backend.status().code() == Code::kUnsupported) GTEST_SKIP() << backend.status().text();
      CHECK_OK(backend);
      devices_.emplace_back(std::move(backend).value());
    }
  }
  TestDevice& device(size_t index = 0) { return devices_[index % devices_.size()]; }
  // Another like the first; null if the options are not for it.
  std::unique_ptr<TestDevice> device_with(const std::function<void(BackendOptions*)>& change) {
    BackendOptions options = GetParam().variants.front();
    change(&options);
    auto backend = make_backend(options);
    if (backend.status().code() == Code::kUnsupported) return nullptr;
    CHECK_OK(backend);
    return std::make_unique<TestDevice>(std::move(backend).value());
  }
  // How much further off than fp32 results may be.
  double slack() { return device().traits().activations == DType::kF32 ? 1 : 1 << 15; }
  // Equal bits where batches may not matter, else close.
  void expect_same(std::span<const float> a, std::span<const float> b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      if (device().traits().is_batch_invariant) {
        ASSERT_EQ(a[i], b[i]) << i;
      } else {
        ASSERT_NEAR(a[i], b[i], 1e-6 * slack() * (1 + std::fabs(a[i]))) << i;
      }
    }
  }

  std::vector<TestDevice> devices_;
};

TEST_P(BackendContract, TraitsSayWhereMemoryIsAndBuffersAreZeroedAndAligned) {
  const Traits& traits = device().traits();
  EXPECT_FALSE(traits.name.empty());
  EXPECT_GT(traits.depth, 0U);
  EXPECT_GT(traits.max_batch_tokens, 0U);
  EXPECT_GT(traits.max_sequences, 0U);
  for (const Sharing sharing : {Sharing::kPrivate, Sharing::kShared}) {
    const auto buffer = device()->allocate(1000, sharing);
    ASSERT_TRUE(buffer.is_ok());
    const Memory& memory = (*buffer)->memory();
    EXPECT_EQ(memory.bytes, 1000U);
    EXPECT_EQ(memory.kind, traits.memory);
    EXPECT_EQ(memory.device, traits.device);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.data) % 64, 0U);
    const Tensor tensor{
        .buffer = buffer->get(), .offset = 0, .dtype = DType::kF32, .rows = 1, .columns = 250, .stride = 250};
    EXPECT_EQ(device().read(tensor), std::vector<float>(250));
    if (sharing == Sharing::kPrivate || memory.kind != MemoryKind::kHost) continue;
    // Another process maps it, and each sees what the other writes.
    ASSERT_GE(memory.fd, 0);
    const auto mapped = SharedMemory::map(::dup(memory.fd), memory.bytes);
    ASSERT_TRUE(mapped.is_ok());
    device().write(random_floats(250, 1), tensor);
    EXPECT_EQ(std::memcmp(mapped->data(), memory.data, memory.bytes), 0);
    mapped->data()[3] ^= std::byte{1};
    EXPECT_EQ(std::memcmp(mapped->data(), memory.data, memory.bytes), 0);
  }
}

TEST_P(BackendContract, MatmulIsTheExactProductForEveryDtypeAndDoesNotDependOnTheBatch) {
  for (const DType dtype : kDTypes) {
    for (const auto& [rows, columns] : {std::pair<size_t, size_t>{1, 32}, {7, 96}, {33, 576}, {16, 1536}}) {
      SCOPED_TRACE(dtype_name(dtype));
      const TestMatrix a(dtype, rows, columns, 1);
      const TestMatrix b(DType::kQ8_0, 3, columns, 2);  // stacked under it
      const std::vector<MatrixSource> parts = {a.source(), b.source()};
      const std::vector<float> bias = random_floats(rows + 3, 3);
      constexpr size_t kRows = 67;
      const std::vector<float> x = random_floats(kRows * columns, 4);
      std::vector<float> expected;
      for (TestDevice& on : devices_) {
        const auto packed = on.pack(parts);
        const Tensor from = on.tensor(x, kRows);
        const Tensor add = on.vector(bias);
        const Tensor all = on.zeroes(kRows, rows + 3);
        on->matmul(from, *packed, add, all);
        const std::vector<float> products = on.read(all);
        if (expected.empty()) expected = products;
        expect_same(products, expected);
        for (const size_t count : {1, 2, 3, 5, 16, 17, 64}) {
          Tensor some = from.first(count);
          some.offset += row_bytes(from.dtype, columns);  // rows from the second on
          const Tensor out = on.zeroes(count, rows + 3);
          on->matmul(some, *packed, add, out);
          expect_same(on.read(out), std::span(products).subspan(rows + 3, count * (rows + 3)));
          if (HasFatalFailure()) FAIL() << count << " rows";
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
          ASSERT_NEAR(expected[m * (rows + 3) + n], exact,
                      2e-5 * slack() * (1 + std::sqrt(norm * static_cast<double>(columns))));
        }
      }
    }
  }
}

// A step of one sequence with these tokens, computed from its beginning.
Step step_of(std::vector<TokenId> tokens, uint32_t seat = 0) {
  Step step;
  const auto rows = static_cast<uint32_t>(tokens.size());
  step.paged.sequences = {{.first_row = 0, .rows = rows, .length = rows, .first_block = 0, .seat = seat}};
  for (uint32_t at = 0; at < rows; ++at) step.paged.positions.push_back(at);
  for (uint32_t block = 0; block * 16 < rows; ++block) step.paged.block_table.push_back(block);
  step.tokens = std::move(tokens);
  return step;
}

TEST_P(BackendContract, EmbeddingAndUploadedRowsAreTheWeights) {
  for (const DType dtype : kDTypes) {
    SCOPED_TRACE(dtype_name(dtype));
    const TestMatrix table(dtype, 9, 64, 5);
    const std::vector<MatrixSource> parts = {table.source()};
    const auto packed = device().pack(parts);
    const std::vector<TokenId> ids = {8, 0, 3};
    const Tensor out = device().zeroes(ids.size(), 64);
    device().run(step_of(ids), [&](const StepView& step) {
      EXPECT_EQ(step.rows(), 3U);
      EXPECT_EQ(step.draws(), 0U);
      device()->embed(*packed, step, out);
    });
    const std::vector<float> embedded = device().read(out);
    for (size_t i = 0; i < embedded.size(); ++i)
      EXPECT_NEAR(embedded[i], table.exact[ids[i / 64] * 64 + i % 64], 1e-6 * slack());
    Tensor uploaded = device().zeroes(9, 80, DType::kF32);
    uploaded.offset += 16;
    uploaded.columns = 64;  // rows that are not adjacent
    ASSERT_TRUE(device()->upload(table.source(), uploaded).is_ok());
    const std::vector<float> read = device().read(uploaded);
    for (size_t i = 0; i < read.size(); ++i) EXPECT_NEAR(read[i], table.exact[i], 1e-6);
  }
}

TEST_P(BackendContract, NormAndActivationAreTheirFormulas) {
  for (const size_t columns : {1, 7, 16, 33, 576}) {
    constexpr size_t kRows = 40;
    const std::vector<float> x = random_floats(kRows * columns, 6, 3);
    const std::vector<float> delta = random_floats(kRows * columns, 7);
    const std::vector<float> weight = random_floats(columns, 8);
    TestDevice& on = device(1);
    const Tensor residual = on.tensor(x, kRows);
    const Tensor out = on.zeroes(kRows, columns);
    on->add_rms_norm(on.tensor(delta, kRows), residual, on.vector(weight), 1e-5F, out);
    const std::vector<float> sums = on.read(residual);
    const std::vector<float> normed = on.read(out);
    const Tensor in_place = on.tensor(sums, kRows);
    on->rms_norm(in_place, on.vector(weight), 1e-5F, in_place);
    expect_same(on.read(in_place), normed);
    for (size_t row = 0; row < kRows; ++row) {
      double squares = 0;
      for (size_t i = row * columns; i < (row + 1) * columns; ++i) squares += std::pow(double{x[i]} + delta[i], 2);
      const double scale = 1 / std::sqrt(squares / static_cast<double>(columns) + 1e-5);
      for (size_t i = 0; i < columns; ++i) {
        const double sum = double{x[row * columns + i]} + delta[row * columns + i];
        ASSERT_NEAR(sums[row * columns + i], sum, 1e-5 * slack());
        ASSERT_NEAR(normed[row * columns + i], sum * scale * weight[i], 2e-5 * slack());
      }
    }
    const std::vector<float> gate_up = random_floats(kRows * 2 * columns, 9, 8);
    const Tensor activated = device(2).zeroes(kRows, columns);
    device(2)->silu_mul(device(2).tensor(gate_up, kRows), activated);
    const std::vector<float> values = device(2).read(activated);
    for (size_t i = 0; i < values.size(); ++i) {
      const double gate = gate_up[i / columns * 2 * columns + i % columns];
      const double up = gate_up[i / columns * 2 * columns + columns + i % columns];
      const double exact = gate / (1 + std::exp(-gate)) * up;
      ASSERT_NEAR(values[i], exact, 2e-6 * slack() * (1 + std::fabs(exact)));
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
    for (const uint32_t length : this->lengths) blocks += (length + block_tokens - 1) / block_tokens;
    std::vector<uint32_t> ids(blocks);
    for (uint32_t i = 0; i < blocks; ++i) ids[i] = i;
    std::ranges::shuffle(ids, std::mt19937(11));
    size_t next = 0;
    for (const uint32_t length : this->lengths) {
      tables.emplace_back();
      for (uint32_t at = 0; at < length; at += block_tokens) tables.back().push_back(ids[next++]);
    }
    for (size_t i = 0; i < this->lengths.size(); ++i)
      qkv.push_back(random_floats(size_t{this->lengths[i]} * width(), 20 + static_cast<uint32_t>(i)));
    for (size_t i = 0; i < kPositions * dim / 2; ++i) {
      const double angle =
          static_cast<double>(i / (dim / 2)) * std::pow(100.0, -2.0 * static_cast<double>(i % (dim / 2)) / dim);
      cosines.push_back(static_cast<float>(std::cos(angle)));
      sines.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  size_t width() const { return size_t{heads + 2 * kv_heads} * dim; }
  size_t side() const { return size_t{kv_heads} * block_tokens * dim; }
  // Outputs of all rows of all sequences, computed `chunk` rows per sequence and step.
  std::vector<std::vector<float>> run(TestDevice* on, uint32_t chunk) {
    const auto pool = (*on)->allocate(blocks * 2 * side() * kv::bytes_of(dtype));
    CHECK_OK(pool);
    const KvView kv{pool->get(), 0, dtype, 2 * side(), side(), kv_heads, dim, block_tokens};
    const RopeTable rope{on->vector(cosines, kPositions), on->vector(sines, kPositions)};
    std::vector<std::vector<float>> outputs(lengths.size());
    for (uint32_t begin = 0;; begin += chunk) {
      Step step;
      PagedBatch& batch = step.paged;
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
      step.tokens.resize(batch.rows());
      const Tensor rows = on->tensor(x, batch.rows());
      const Tensor out = on->zeroes(batch.rows(), size_t{heads} * dim);
      on->run(step, [&](const StepView& view) {
        (*on)->rope_append(
            view, {.qkv = rows, .heads = heads, .q_norm = {}, .k_norm = {}, .norm_epsilon = 0, .rope = rope, .kv = kv});
        (*on)->attention(view, {.q = rows.slice(0, size_t{heads} * dim), .heads = heads, .kv = kv, .out = out});
      });
      const std::vector<float> all = on->read(out);
      size_t next = 0;
      for (size_t s = 0; s < lengths.size(); ++s) {
        if (begin >= lengths[s]) continue;
        const size_t count = size_t{std::min(chunk, lengths[s] - begin)} * heads * dim;
        outputs[s].insert(outputs[s].end(), all.begin() + static_cast<std::ptrdiff_t>(next),
                          all.begin() + static_cast<std::ptrdiff_t>(next + count));
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

  static constexpr size_t kPositions = 600;
  uint32_t heads, kv_heads, dim, block_tokens;
  kv::KvDtype dtype;
  std::vector<uint32_t> lengths;
  uint32_t blocks = 0;
  std::vector<std::vector<uint32_t>> tables;
  std::vector<std::vector<float>> qkv;
  std::vector<float> cosines, sines;
};

TEST_P(BackendContract, AttentionIsExactAndDoesNotDependOnChunksOrNeighbours) {
  size_t dtypes = 0;
  for (const kv::KvDtype dtype : {kv::KvDtype::kF32, kv::KvDtype::kF16, kv::KvDtype::kBF16}) {
    const auto one = device_with([&](BackendOptions* options) { options->kv = dtype, options->threads = 1; });
    const auto other = device_with([&](BackendOptions* options) { options->kv = dtype, options->threads = 2; });
    if (!one) continue;
    ++dtypes;
    const double tolerance = dtype == kv::KvDtype::kF32 ? 2e-5 : dtype == kv::KvDtype::kF16 ? 4e-3 : 3e-2;
    for (const auto& [query, kv] : {std::pair<uint32_t, uint32_t>{9, 3}, {4, 4}, {4, 2}, {8, 1}}) {
      for (const uint32_t dim : {64, 80, 128, 6}) {
        for (const uint32_t block_tokens : {16, 1, 5, 32}) {
          std::vector<uint32_t> lengths = {1, 37, 20};
          if (block_tokens == 16) lengths.push_back(150);  // more than any device takes at a time
          Cached cached(query, kv, dim, block_tokens, dtype, lengths);
          const auto whole = cached.run(other.get(), 100);
          for (const uint32_t chunk : {1, 15, 16, 17}) {
            const auto cut = cached.run(one.get(), chunk);
            for (size_t s = 0; s < lengths.size(); ++s) ASSERT_NO_FATAL_FAILURE(expect_same(cut[s], whole[s]));
          }
          for (size_t s = 0; s < lengths.size(); ++s) {
            const uint32_t last = cached.lengths[s] - 1;
            for (uint32_t head = 0; head < query; ++head) {
              const auto exact = cached.exact(s, last, head);
              for (uint32_t d = 0; d < dim; ++d) {
                ASSERT_NEAR(whole[s][(last * query + head) * dim + d], exact[d], tolerance + 1e-6 * (slack() - 1));
              }
            }
          }
        }
      }
    }
  }
  EXPECT_GT(dtypes, 0U);
}

// ---- drawing ----

// Draws from rows of logits: draw i in seat i.
class Drawing {
 public:
  explicit Drawing(std::vector<std::vector<float>> logits) : logits_(std::move(logits)) {
    step = step_of(std::vector<TokenId>(logits_.size()));
    for (uint32_t i = 0; i < logits_.size(); ++i)
      step.draws.push_back({.row = i, .seat = i, .sampling = &greedy, .seed = i});
  }
  std::vector<Result<DrawnToken>> run(TestDevice* on) {
    std::vector<float> flat;
    for (const auto& row : logits_) flat.insert(flat.end(), row.begin(), row.end());
    const Tensor logits = on->vector(flat, logits_.size());
    return on->run(step, [&](const StepView& view) { (*on)->sample(view, logits); });
  }

  SamplingParams greedy{.temperature = 0, .seed = {}, .logit_bias = {}};
  Step step;

 private:
  std::vector<std::vector<float>> logits_;
};

TEST_P(BackendContract, ADrawThatFindsNoTokenFailsAlone) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Drawing drawing({{1, 3, 2}, {1, NAN, 2}, {1, 3, 2}, {-kInfinity, -kInfinity, -kInfinity}, {-kInfinity, 1, 0}});
  const std::vector<TokenId> all = {0, 1, 2};
  drawing.step.draws[2].masked = all;
  const auto drawn = drawing.run(&device());
  ASSERT_EQ(drawn.size(), 5U);
  EXPECT_EQ(drawn[0]->token, 1U);
  EXPECT_EQ(drawn[1].status().code(), Code::kInternal);
  EXPECT_EQ(drawn[2].status().code(), Code::kInvalid);
  EXPECT_EQ(drawn[3].status().code(), Code::kInternal);
  EXPECT_EQ(drawn[4]->token, 1U);
}

TEST_P(BackendContract, PenaltiesBiasMaskAndAllowedTokensChangeTheLogitsAsWritten) {
  const auto draw = [&](const std::function<void(kernels::Draw*, SamplingParams*)>& change) {
    Drawing drawing({{3, 2, 1}});
    change(&drawing.step.draws[0], &drawing.greedy);
    return drawing.run(&device())[0]->token;
  };
  const std::vector<TokenId> zero = {0};
  const std::vector<TokenId> both = {0, 1};
  const std::vector<uint32_t> last_alone = {1U << 2};
  EXPECT_EQ(draw([](auto*, auto*) {}), 0U);
  EXPECT_EQ(draw([&](Draw* draw, auto*) { draw->masked = zero; }), 1U);
  EXPECT_EQ(draw([&](Draw* draw, auto*) { draw->masked = both; }), 2U);
  EXPECT_EQ(draw([&](Draw* draw, auto*) { draw->allowed = last_alone; }), 2U);
  EXPECT_EQ(draw([&](auto*, SamplingParams* sampling) { sampling->logit_bias = {{2, 5.0F}}; }), 2U);
  EXPECT_EQ(draw([&](Draw* draw, SamplingParams* sampling) {
              draw->prompt = zero;
              sampling->repetition_penalty = 2;
            }),
            1U);
  EXPECT_EQ(draw([&](Draw* draw, SamplingParams* sampling) {
              draw->output = zero;
              draw->index = 1;
              sampling->presence_penalty = 1.5F;
            }),
            1U);
  EXPECT_EQ(draw([&](Draw* draw, SamplingParams* sampling) {
              draw->output = zero;
              draw->index = 1;
              sampling->frequency_penalty = 1.5F;
            }),
            1U);
}

TEST_P(BackendContract, LogprobsAreThoseOfTheWholeDistribution) {
  Drawing drawing({{std::log(0.2F), std::log(0.5F), std::log(0.3F)}, {1, 2, 3}});
  drawing.step.draws[0].logprobs = 2;
  const auto drawn = drawing.run(&device());
  const TokenLogprobs& told = drawn[0]->logprobs;
  EXPECT_EQ(told.drawn.token, 1U);
  EXPECT_NEAR(told.drawn.logprob, std::log(0.5), 1e-5);
  ASSERT_EQ(told.top.size(), 2U);
  EXPECT_EQ(told.top[0].token, 1U);
  EXPECT_EQ(told.top[1].token, 2U);
  EXPECT_NEAR(told.top[1].logprob, std::log(0.3), 1e-5);
  EXPECT_TRUE(drawn[1]->logprobs.top.empty());
}

TEST_P(BackendContract, DrawsFollowTheDistributionAndDoNotDependOnTheBatch) {
  const std::vector<double> p = {0.5, 0.25, 0.15, 0.07, 0.03};
  std::vector<float> logits;
  for (const double one : p) logits.push_back(static_cast<float>(std::log(one)));
  constexpr uint32_t kRows = 50;
  constexpr uint32_t kRounds = 400;
  std::vector<int> counts(p.size());
  SamplingParams plain{.seed = {}, .logit_bias = {}};
  SamplingParams cut{.top_p = 0.7F, .top_k = 3, .min_p = 0.1F, .seed = {}, .logit_bias = {}};
  std::set<TokenId> of_cut;
  for (uint32_t round = 0; round < kRounds; ++round) {
    Drawing together(std::vector<std::vector<float>>(kRows, logits));
    for (uint32_t i = 0; i < kRows; ++i) {
      together.step.draws[i].sampling = i % 2 == 0 ? &plain : &cut;
      together.step.draws[i].seed = round * kRows + i;
    }
    const auto drawn = together.run(&device(round));
    for (uint32_t i = 0; i < kRows; ++i) {
      if (i % 2 == 0) ++counts[drawn[i]->token];
      if (i % 2 == 1) of_cut.insert(drawn[i]->token);
    }
    if (round > 0) continue;
    for (uint32_t i = 0; i < kRows; ++i) {
      Drawing alone({logits});
      alone.step.draws[0].sampling = together.step.draws[i].sampling;
      alone.step.draws[0].seed = together.step.draws[i].seed;
      EXPECT_EQ(alone.run(&device(i))[0]->token, drawn[i]->token) << i;
    }
  }
  const double draws = kRows * kRounds / 2.0;
  double chi_square = 0;
  for (size_t i = 0; i < p.size(); ++i) chi_square += std::pow(counts[i] - p[i] * draws, 2) / (p[i] * draws);
  EXPECT_LT(chi_square, 18.5);  // 4 degrees of freedom, p = 0.001
  EXPECT_EQ(of_cut, (std::set<TokenId>{0, 1}));
}

TEST_P(BackendContract, GatherDrawnTakesTheRowsThatAreDrawnFrom) {
  Step step = step_of({0, 0, 0, 0, 0});
  step.draws = {{.row = 1}, {.row = 4}};
  const std::vector<float> x = random_floats(5 * 7, 1);
  const Tensor from = device().tensor(x, 5);
  const Tensor to = device().zeroes(2, 7);
  const auto drawn = device().run(step, [&](const StepView& view) {
    EXPECT_EQ(view.draws(), 2U);
    device()->gather_drawn(view, from, to);
  });
  EXPECT_TRUE(drawn.empty()) << "nothing was sampled";
  const std::vector<float> all = device().read(from);
  std::vector<float> expected(all.begin() + 7, all.begin() + 14);
  expected.insert(expected.end(), all.begin() + 28, all.end());
  EXPECT_EQ(device().read(to), expected);
}

// Steps that need what those before them drew, as many under way as there may be.
TEST_P(BackendContract, AStepTakesWhatOneUnderWayDrawsAndResultsComeInOrder) {
  const auto deep = device_with([](BackendOptions* options) { options->depth = 3; });
  ASSERT_TRUE(deep);
  for (TestDevice* on : {&device(), deep.get()}) {
    const uint32_t depth = on->traits().depth;
    SCOPED_TRACE(depth);
    // Seat 5 draws 4, 3, 2, ...: each token may come once.
    const std::vector<float> logits = {0.5F, 1, 1.5F, 2, 2.5F};
    const TestMatrix table(DType::kF32, 5, 32, 5);
    const std::vector<MatrixSource> parts = {table.source()};
    const auto packed = on->pack(parts);
    const SamplingParams once{
        .temperature = 0, .presence_penalty = 2, .frequency_penalty = 2, .seed = {}, .logit_bias = {}};
    std::vector<TokenId> known;
    std::vector<Tensor> embedded;
    const auto finish = [&] {
      const auto drawn = (*on)->finish();
      ASSERT_TRUE(drawn.is_ok());
      ASSERT_EQ(drawn->size(), 1U);
      known.push_back((*drawn)[0]->token);
    };
    for (uint32_t index = 0; index < 5; ++index) {
      if (index >= depth) finish();
      const bool is_known = index == known.size();
      Step step = step_of({index == 0 ? 2 : is_known ? known.back() : kDrawnLast}, /*seat=*/5);
      step.draws = {{.row = 0, .seat = 5, .sampling = &once, .index = index, .output = known}};
      embedded.push_back(on->zeroes(1, 32));
      const Tensor row = on->vector(logits);
      const Status begun = (*on)->begin(step, [&](const StepView& view) {
        (*on)->embed(*packed, view, embedded.back());
        (*on)->sample(view, row);
      });
      ASSERT_TRUE(begun.is_ok());
    }
    while (known.size() < 5) finish();
    EXPECT_EQ(known, (std::vector<TokenId>{4, 3, 2, 1, 0}));
    for (size_t i = 0; i < 5; ++i) {
      const TokenId token = i == 0 ? 2 : known[i - 1];
      const std::vector<float> row = on->read(embedded[i]);
      for (size_t d = 0; d < 32; ++d) EXPECT_NEAR(row[d], table.exact[token * 32 + d], 1e-6 * slack());
    }
  }
}

TEST_P(BackendContract, TheSeatOfADrawThatFailedHoldsSomeToken) {
  Drawing broken({{NAN, 1, 2}});
  EXPECT_EQ(broken.run(&device())[0].status().code(), Code::kInternal);
  const TestMatrix table(DType::kF32, 3, 32, 5);
  const std::vector<MatrixSource> parts = {table.source()};
  const auto packed = device().pack(parts);
  const Tensor out = device().zeroes(1, 32);
  device().run(step_of({kDrawnLast}), [&](const StepView& view) { device()->embed(*packed, view, out); });
  for (const float value : device().read(out)) EXPECT_TRUE(std::isfinite(value));
}

BackendCase cpu(CpuLevel level) {
  BackendCase made{.name = std::string(cpu_level_name(level)), .variants = {}};
  for (const uint32_t threads : {1, 2, 3}) {
    made.variants.push_back({.device = Device::kCpu, .cpu_level = level, .threads = threads, .kv = {}, .depth = 0});
  }
  return made;
}

INSTANTIATE_TEST_SUITE_P(Cpu, BackendContract,
                         ::testing::Values(cpu(CpuLevel::kScalar), cpu(CpuLevel::kAvx2), cpu(CpuLevel::kAvx512)),
                         [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(Cuda, BackendContract, ::testing::Values(BackendCase{"gpu", {{.device = Device::kCuda}}}),
                         [](const auto& info) { return info.param.name; });

TEST(BackendFactory, ReadsTheNamesOfDevicesAndWritesThemAgain) {
  for (const char* name : {"auto", "cpu", "cuda:0", "cuda:7"}) {
    BackendOptions options;
    ASSERT_TRUE(parse_device(name, &options).is_ok()) << name;
    EXPECT_EQ(device_name(options), name);
  }
  BackendOptions first;
  ASSERT_TRUE(parse_device("cuda", &first).is_ok());
  EXPECT_EQ(device_name(first), "cuda:0");
  for (const char* name : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cuda:99999999999", "CPU"}) {
    EXPECT_EQ(parse_device(name, &first).code(), Code::kInvalid) << name;
  }
}

TEST(BackendFactory, AutoComputesSomewhere) {
  const auto made = make_backend({.device = Device::kAuto});
  EXPECT_TRUE(made.is_ok()) << made.status().text();
}

TEST(BackendFactory, SaysWhatItCannotMake) {
  const auto cuda = make_backend({.device = Device::kCuda, .gpu = 99});
  EXPECT_EQ(cuda.status().code(), Code::kUnsupported);
  EXPECT_TRUE(cuda.status().text().find("CUDA") != std::string::npos ||
              cuda.status().text().find("GPU 99") != std::string::npos)
      << cuda.status().text();
  const auto bf16 = make_backend({.kv = kv::KvDtype::kBF16});
  EXPECT_EQ(bf16.status().code(), Code::kUnsupported);
  EXPECT_NE(bf16.status().text().find("BF16"), std::string::npos);
}

}  // namespace
}  // namespace dynamo::kernels
