// The decoder's logits against transformers (testdata/, made by tests/truth/make_goldens.py), on every level of the CPU.
#include "model/decoder.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "kernels/backend_factory.h"
#include "model/testing/goldens.h"
#include "model/testing/run_decoder.h"
#include "model/testing/tiny_model.h"

namespace dynamo::model {
namespace {

using testing::TinyGolden;

const std::vector<TinyGolden>& goldens() {
  static const std::vector<TinyGolden> all = testing::read_tiny_goldens(DYNAMO_SOURCE_DIR "/src/model/testdata");
  return all;
}

// Ours at the golden's positions.
std::vector<float> our_logits(const TinyGolden& golden, const std::string& path, kernels::CpuLevel level,
                              kv::KvDtype kv_dtype) {
  const auto source = open_model(path);
  CHECK_OK(source);
  const auto backend = kernels::make_backend({.cpu_level = level, .threads = 2, .kv = kv_dtype});
  CHECK_OK(backend);
  const auto blocks = static_cast<uint32_t>(golden.tokens.size() / 16 + 1);
  const auto decoder = testing::make_decoder(**source, backend->get(), {.kv_blocks = blocks});
  CHECK_OK(decoder);
  testing::TestSequence sequence{.blocks = testing::blocks_in_order(blocks)};
  const std::vector<float> all = testing::run_chunks(decoder->get(), &sequence, golden.tokens, /*chunk=*/64);
  const size_t vocab = (*decoder)->config().vocab_size;
  std::vector<float> chosen;
  for (const uint32_t position : golden.positions) {
    const auto row = std::span(all).subspan(position * vocab, vocab);
    chosen.insert(chosen.end(), row.begin(), row.end());
  }
  CHECK(chosen.size() == golden.logits.size());
  return chosen;
}

double standard_deviation(std::span<const float> values) {
  double sum = 0;
  double squares = 0;
  for (const float value : values) {
    sum += value;
    squares += double{value} * value;
  }
  const double mean = sum / static_cast<double>(values.size());
  return std::sqrt(squares / static_cast<double>(values.size()) - mean * mean);
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double{a[i]} - b[i]));
  return largest;
}

double relative_rms(std::span<const float> truth, std::span<const float> other) {
  double error = 0;
  double power = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    error += (double{truth[i]} - other[i]) * (double{truth[i]} - other[i]);
    power += double{truth[i]} * truth[i];
  }
  return std::sqrt(error / power);
}

void expect_fp32_truth(const TinyGolden& golden, const std::string& path) {
  for (const kernels::CpuLevel level : kernels::supported_cpu_levels()) {
    const std::vector<float> ours = our_logits(golden, path, level, kv::KvDtype::kF32);
    EXPECT_LE(largest_difference(golden.logits, ours), 1e-4 * standard_deviation(golden.logits))
        << golden.name << " from " << path << ", " << kernels::cpu_level_name(level);
  }
}

TEST(TinyModels, InFp32EqualTransformersToOneInTenThousand) {
  const testing::TemporaryFolder folder;
  for (const TinyGolden& golden : goldens()) {
    if (!golden.folder.empty() || golden.spec.dtype != kernels::DType::kF32) continue;
    ASSERT_TRUE(testing::write_tiny_hf_folder(golden.spec, folder / golden.name).is_ok());
    expect_fp32_truth(golden, folder / golden.name);
    ASSERT_TRUE(testing::write_tiny_gguf(golden.spec, folder / (golden.name + ".gguf")).is_ok());
    expect_fp32_truth(golden, folder / (golden.name + ".gguf"));
  }
}

TEST(TinyModels, SavedByTransformersItselfGiveItsLogits) {
  const auto saved = std::ranges::find_if(goldens(), [](const TinyGolden& golden) { return !golden.folder.empty(); });
  ASSERT_NE(saved, goldens().end());
  expect_fp32_truth(*saved, saved->folder);
}

TEST(TinyModels, InBf16AreAsCloseToTheTruthAsTransformersInBf16) {
  const testing::TemporaryFolder folder;
  size_t models = 0;
  for (const TinyGolden& golden : goldens()) {
    if (!golden.folder.empty() || golden.spec.dtype != kernels::DType::kBF16) continue;
    ASSERT_TRUE(testing::write_tiny_hf_folder(golden.spec, folder / golden.name).is_ok());
    for (const kernels::CpuLevel level : kernels::supported_cpu_levels()) {
      const std::vector<float> ours = our_logits(golden, folder / golden.name, level, kv::KvDtype::kF16);
      EXPECT_LE(relative_rms(golden.logits, ours), 1.5 * golden.bf16_error)
          << golden.name << ", " << kernels::cpu_level_name(level);
    }
    ++models;
  }
  EXPECT_GE(models, 6U);
}

// A small Llama on the scalar level, for what does not depend on the numbers.
struct SmallDecoder {
  explicit SmallDecoder(DecoderOptions options, const std::function<void(double)>& progress = nullptr) {
    CHECK(testing::write_tiny_gguf({}, folder / "small.gguf").is_ok());
    auto source = open_model(folder / "small.gguf");
    CHECK_OK(source);
    auto made = kernels::make_backend({.cpu_level = kernels::CpuLevel::kScalar, .threads = 1});
    CHECK_OK(made);
    backend = std::move(made).value();
    auto created = testing::make_decoder(**source, backend.get(), options, progress);
    CHECK_OK(created);
    decoder = std::move(created).value();
  }
  testing::TemporaryFolder folder;
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<Decoder> decoder;
};

TEST(Decoder, TellsProgressFromNothingToAll) {
  std::vector<double> told;
  const SmallDecoder small({.kv_blocks = 2}, [&](double done) { told.push_back(done); });
  ASSERT_GE(told.size(), 3U);
  EXPECT_EQ(told.front(), 0.0);
  EXPECT_EQ(told.back(), 1.0);
  EXPECT_TRUE(std::ranges::is_sorted(told));
}

TEST(Decoder, PoolHasTheBlocksAskedFor) {
  const SmallDecoder small({.block_tokens = 8, .kv_blocks = 5});
  const kv::KvLayout& layout = small.decoder->kv_layout();
  EXPECT_EQ(layout.block_tokens, 8U);
  EXPECT_EQ(layout.layers, small.decoder->config().layers);
  EXPECT_EQ(small.decoder->kv_pool().bytes(), 5 * layout.block_bytes());
  EXPECT_GT(small.decoder->weight_bytes(), 0U);
}

// Two rows of one sequence in block 0, the logits of the second wanted.
kernels::Step small_step() {
  kernels::Step step;
  step.paged.sequences = {{.first_row = 0, .rows = 2, .length = 2, .first_block = 0}};
  step.paged.block_table = {0};
  step.paged.positions = {0, 1};
  step.tokens = {7, 8};
  step.draws = {{.row = 1}};
  return step;
}

TEST(DecoderDeathTest, RefusesABatchOutsideItsContract) {
  const SmallDecoder small({.kv_blocks = 2, .max_rows = 4});
  Decoder& decoder = *small.decoder;
  testing::logits_of(&decoder, small_step());  // as it should be
  const auto dies = [&](auto&& spoil) {
    kernels::Step step = small_step();
    spoil(step);
    EXPECT_DEATH(decoder.check(step), "CHECK failed");
  };
  dies([](kernels::Step& step) { step.tokens[0] = 272; });
  dies([](kernels::Step& step) { step.tokens.pop_back(); });
  dies([](kernels::Step& step) { step.paged.block_table[0] = 2; });
  dies([](kernels::Step& step) { step.paged.block_table.clear(); });
  dies([](kernels::Step& step) { step.paged.positions[1] = 2; });
  dies([](kernels::Step& step) { step.paged.sequences[0].length = 33; });
  dies([](kernels::Step& step) { step.paged.sequences.clear(); });
  dies([](kernels::Step& step) { step.paged.block_tokens = 8; });
  dies([](kernels::Step& step) { step.draws = {{.row = 2}}; });
  dies([](kernels::Step& step) { step.draws = {{.row = 1}, {.row = 0}}; });
  dies([](kernels::Step& step) { step.draws[0].seat = kernels::kMaxSeats; });
}

}  // namespace
}  // namespace dynamo::model
