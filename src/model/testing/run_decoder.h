// Drives a Decoder without an engine: steps over chosen rows of several sequences.
// Threads: as Decoder.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/decoder.h"

namespace dynamo::model::testing {

// A decoder with the weights of `source`.
Result<std::unique_ptr<Decoder>> make_decoder(const ModelSource& source, kernels::Backend* backend,
                                              DecoderOptions options,
                                              const std::function<void(double)>& progress = nullptr);

// 0, 1, 2, ...
std::vector<uint32_t> blocks_in_order(uint32_t count);

// Computes a step. Returns: the logits of the rows that it draws from, [draws][vocab_size]; nothing is drawn.
std::vector<float> logits_of(Decoder* decoder, const kernels::Step& step);
// Draws that name rows; for logits_of().
std::vector<kernels::Draw> draws_of(std::span<const uint32_t> rows);

// A sequence and the blocks that hold it.
struct TestSequence {
  std::vector<uint32_t> blocks;
  uint32_t length = 0;  // tokens computed so far
};

// The next tokens of one sequence in a step.
struct TestRows {
  TestSequence* sequence;
  std::span<const TokenId> tokens;
};

// Computes the rows in one step. Returns: the logits of every row, [rows][vocab_size].
// Requires: the blocks of each sequence have room.
std::vector<float> run_step(Decoder* decoder, std::span<const TestRows> rows);

// Computes `tokens` in steps of `chunk` rows. Returns: the logits of every row.
std::vector<float> run_chunks(Decoder* decoder, TestSequence* sequence, std::span<const TokenId> tokens,
                              uint32_t chunk);

// Appends `count` tokens, each the likeliest after those before. Requires: count > 0, tokens is not empty.
std::vector<TokenId> run_greedy(Decoder* decoder, TestSequence* sequence, std::span<const TokenId> prompt,
                                uint32_t count);

}  // namespace dynamo::model::testing
