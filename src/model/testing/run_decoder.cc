#include "model/testing/run_decoder.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace dynamo::model::testing {

std::vector<uint32_t> blocks_in_order(uint32_t count) {
  std::vector<uint32_t> blocks(count);
  std::iota(blocks.begin(), blocks.end(), 0);
  return blocks;
}

std::vector<float> run_step(Decoder* decoder, std::span<const TestRows> rows) {
  StepBatch batch;
  kernels::PagedBatch& paged = batch.paged;
  paged.block_tokens = decoder->kv_layout().block_tokens;
  for (const auto& [sequence, tokens] : rows) {
    const auto count = static_cast<uint32_t>(tokens.size());
    paged.sequences.push_back({.first_row = paged.rows(),
                               .rows = count,
                               .length = sequence->length + count,
                               .first_block = static_cast<uint32_t>(paged.block_table.size())});
    for (uint32_t i = 0; i < count; ++i) paged.positions.push_back(sequence->length++);
    batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end());
    paged.block_table.insert(paged.block_table.end(), sequence->blocks.begin(), sequence->blocks.end());
  }
  batch.logits_rows.resize(paged.rows());
  std::iota(batch.logits_rows.begin(), batch.logits_rows.end(), 0);
  std::vector<float> logits(size_t{paged.rows()} * decoder->config().vocab_size);
  decoder->forward(batch, logits);
  return logits;
}

std::vector<float> run_chunks(Decoder* decoder, TestSequence* sequence, std::span<const TokenId> tokens,
                              uint32_t chunk) {
  std::vector<float> all;
  for (size_t first = 0; first < tokens.size(); first += chunk) {
    const TestRows rows{sequence, tokens.subspan(first, std::min<size_t>(chunk, tokens.size() - first))};
    const std::vector<float> logits = run_step(decoder, std::span(&rows, 1));
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

std::vector<TokenId> run_greedy(Decoder* decoder, TestSequence* sequence, std::span<const TokenId> prompt,
                                uint32_t count) {
  std::vector<TokenId> answer;
  std::vector<float> logits = run_chunks(decoder, sequence, prompt, static_cast<uint32_t>(prompt.size()));
  while (true) {
    const auto last = std::span(logits).last(decoder->config().vocab_size);
    answer.push_back(static_cast<TokenId>(std::ranges::max_element(last) - last.begin()));
    if (answer.size() == count) return answer;
    logits = run_chunks(decoder, sequence, std::span(answer).last(1), 1);
  }
}

}  // namespace dynamo::model::testing
