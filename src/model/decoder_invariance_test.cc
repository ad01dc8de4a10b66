// A row's logits depend on its sequence alone: not on how the prompt was cut, what shares the batch, or where its blocks
// lie. Bit for bit, on every level of the CPU and for every kind of weight.
#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "kernels/backend_factory.h"
#include "model/decoder.h"
#include "model/testing/run_decoder.h"
#include "model/testing/smollm2.h"
#include "model/testing/tiny_model.h"

namespace dynamo::model {
namespace {

using testing::TestRows;
using testing::TestSequence;

constexpr uint32_t kBlocks = 40;

// Fixed tokens that differ from sequence to sequence.
std::vector<TokenId> tokens_of(uint32_t seed, size_t count, uint32_t vocab_size) {
  std::vector<TokenId> tokens(count);
  uint64_t state = seed + 1;
  for (TokenId& token : tokens) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    token = static_cast<TokenId>((state >> 33) % vocab_size);
  }
  return tokens;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

std::span<const float> row_of(const std::vector<float>& logits, size_t row, size_t vocab) {
  return std::span(logits).subspan(row * vocab, vocab);
}

void expect_same_in_any_chunks(Decoder* decoder, std::span<const TokenId> tokens) {
  TestSequence whole{.blocks = testing::blocks_in_order(kBlocks)};
  const std::vector<float> expected =
      testing::run_chunks(decoder, &whole, tokens, static_cast<uint32_t>(tokens.size()));
  for (const uint32_t chunk : {1U, 15U, 16U, 17U}) {
    TestSequence cut{.blocks = testing::blocks_in_order(kBlocks)};
    EXPECT_TRUE(same_bits(testing::run_chunks(decoder, &cut, tokens, chunk), expected)) << "chunks of " << chunk;
  }
}

void expect_same_in_other_blocks(Decoder* decoder, std::span<const TokenId> tokens) {
  TestSequence ordered{.blocks = testing::blocks_in_order(kBlocks)};
  const std::vector<float> expected = testing::run_chunks(decoder, &ordered, tokens, 32);
  std::vector<uint32_t> shuffled(kBlocks);
  for (uint32_t i = 0; i < kBlocks; ++i) shuffled[i] = (i * 17 + 5) % kBlocks;  // 17 and 40 share no factor
  TestSequence permuted{.blocks = shuffled};
  EXPECT_TRUE(same_bits(testing::run_chunks(decoder, &permuted, tokens, 32), expected));
}

// Sequences of several lengths decode together while another one's prompt arrives in chunks beside them.
void expect_same_in_company(Decoder* decoder, std::span<const size_t> lengths) {
  const uint32_t vocab = decoder->config().vocab_size;
  const uint32_t share = kBlocks / static_cast<uint32_t>(lengths.size());
  std::vector<std::vector<TokenId>> tokens;
  std::vector<std::vector<float>> alone;
  std::vector<TestSequence> sequences;
  for (size_t i = 0; i < lengths.size(); ++i) {
    tokens.push_back(tokens_of(static_cast<uint32_t>(i), lengths[i], vocab));
    TestSequence sequence{.blocks = testing::blocks_in_order(kBlocks)};
    alone.push_back(testing::run_chunks(decoder, &sequence, tokens[i], 64));
    const std::vector<uint32_t> all = testing::blocks_in_order(kBlocks);
    const auto first = all.begin() + static_cast<ptrdiff_t>(i * share);
    sequences.push_back({.blocks = {first, first + share}});
  }
  for (bool is_done = false; !is_done;) {
    std::vector<TestRows> step;
    std::vector<size_t> who;
    for (size_t i = 0; i < lengths.size(); ++i) {
      const size_t left = lengths[i] - sequences[i].length;
      const size_t rows = std::min<size_t>(left, i + 1 == lengths.size() ? 11 : 1);  // the last one is the prompt
      if (rows == 0) continue;
      step.push_back({&sequences[i], std::span(tokens[i]).subspan(sequences[i].length, rows)});
      who.push_back(i);
    }
    is_done = step.empty();
    if (is_done) break;
    const std::vector<float> together = testing::run_step(decoder, step);
    size_t row = 0;
    for (size_t s = 0; s < step.size(); ++s) {
      const size_t first = sequences[who[s]].length - step[s].tokens.size();
      for (size_t i = 0; i < step[s].tokens.size(); ++i, ++row) {
        ASSERT_TRUE(same_bits(row_of(together, row, vocab), row_of(alone[who[s]], first + i, vocab)))
            << "sequence " << who[s] << ", position " << first + i;
      }
    }
  }
}

// Asking for some rows' logits gives what asking for all gives.
void expect_same_for_chosen_rows(Decoder* decoder, std::span<const TokenId> tokens) {
  const uint32_t vocab = decoder->config().vocab_size;
  TestSequence sequence{.blocks = testing::blocks_in_order(kBlocks)};
  const std::vector<float> all = testing::run_chunks(decoder, &sequence, tokens, static_cast<uint32_t>(tokens.size()));
  kernels::Step step;
  const auto rows = static_cast<uint32_t>(tokens.size());
  step.paged.sequences = {{.first_row = 0, .rows = rows, .length = rows, .first_block = 0}};
  step.paged.block_table = testing::blocks_in_order(kBlocks);
  step.paged.positions = testing::blocks_in_order(rows);
  step.tokens.assign(tokens.begin(), tokens.end());
  EXPECT_TRUE(testing::logits_of(decoder, step).empty());  // only the cache is wanted
  const std::vector<uint32_t> wanted = {0, 7, rows - 1};
  step.draws = testing::draws_of(wanted);
  const std::vector<float> chosen = testing::logits_of(decoder, step);
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_TRUE(same_bits(row_of(chosen, i, vocab), row_of(all, wanted[i], vocab)));
  }
}

void expect_invariant(const ModelSource& source, kernels::CpuLevel level, size_t length, kv::KvDtype kv_dtype) {
  SCOPED_TRACE(kernels::cpu_level_name(level));
  const auto backend = kernels::make_backend({.cpu_level = level, .threads = 2, .kv = kv_dtype});
  CHECK_OK(backend);
  const auto decoder =
      testing::make_decoder(source, backend->get(), {.kv_blocks = kBlocks, .max_rows = 128, .max_draws = 128});
  CHECK_OK(decoder);
  const std::vector<TokenId> tokens = tokens_of(99, length, source.config().vocab_size);
  expect_same_in_any_chunks(decoder->get(), tokens);
  expect_same_in_other_blocks(decoder->get(), tokens);
  expect_same_for_chosen_rows(decoder->get(), tokens);
  const std::vector<size_t> lengths = {1, 5, 16, 17, length};
  expect_same_in_company(decoder->get(), lengths);
}

TEST(Invariance, HoldsForTinyModelsOfEveryDtype) {
  const testing::TemporaryFolder folder;
  using enum kernels::DType;
  for (const kernels::DType dtype : {kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1}) {
    SCOPED_TRACE(kernels::dtype_name(dtype));
    testing::TinyModelSpec spec;
    spec.family = &kQwen3;
    spec.heads = 6;
    spec.head_dim = 32;
    spec.dtype = dtype;
    const std::string path = folder / (std::string(kernels::dtype_name(dtype)) + ".gguf");
    ASSERT_TRUE(testing::write_tiny_gguf(spec, path).is_ok());
    const auto source = open_model(path);
    CHECK_OK(source);
    for (const kernels::CpuLevel level : kernels::supported_cpu_levels()) {
      expect_invariant(**source, level, /*length=*/70, dtype == kF32 ? kv::KvDtype::kF32 : kv::KvDtype::kF16);
    }
  }
}

TEST(Invariance, HoldsForSmolLm2) {
  const std::string path = testing::smollm2_path();
  if (path.empty()) GTEST_SKIP() << testing::kSmolLm2Missing;
  const auto source = open_model(path);
  CHECK_OK(source);
  expect_invariant(**source, kernels::supported_cpu_levels().back(), /*length=*/50, kv::KvDtype::kF16);
}

}  // namespace
}  // namespace dynamo::model
