#include "model/testing/run_decoder.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace dynamo::model::testing {

Result<std::unique_ptr<Decoder>> make_decoder(const ModelSource& source, kernels::Backend* backend,
                                              DecoderOptions options, const std::function<void(double)>& progress) {
  TRY(DecoderWeights weights, load_weights(source, backend, progress));
  return Decoder::create(std::move(weights), backend, options);
}

std::vector<float> logits_of(Decoder* decoder, const kernels::Step& step) {
  decoder->check(step);
  kernels::Backend* const backend = decoder->backend();
  CHECK(backend->begin(step, [&](const kernels::StepView& view) { decoder->forward(view); }).is_ok());
  CHECK_OK(backend->finish());
  const auto draws = static_cast<uint32_t>(step.draws.size());
  std::vector<float> logits(size_t{draws} * decoder->config().vocab_size);
  CHECK(backend->read(decoder->logits(draws), logits).is_ok());
  return logits;
}

std::vector<kernels::Draw> draws_of(std::span<const uint32_t> rows) {
  std::vector<kernels::Draw> draws;
  for (const uint32_t row : rows) draws.push_back({.row = row});
  return draws;
}

std::vector<uint32_t> blocks_in_order(uint32_t count) {
  std::vector<uint32_t> blocks(count);
  std::iota(blocks.begin(), blocks.end(), 0);
  return blocks;
}

std::vector<float> run_step(Decoder* decoder, std::span<const TestRows> rows) {
  kernels::Step step;
  kernels::PagedBatch& paged = step.paged;
  paged.block_tokens = decoder->kv_layout().block_tokens;
  for (const auto& [sequence, tokens] : rows) {
    const auto count = static_cast<uint32_t>(tokens.size());
    paged.sequences.push_back({.first_row = paged.rows(),
                               .rows = count,
                               .length = sequence->length + count,
                               .first_block = static_cast<uint32_t>(paged.block_table.size())});
    for (uint32_t i = 0; i < count; ++i) paged.positions.push_back(sequence->length++);
    step.tokens.insert(step.tokens.end(), tokens.begin(), tokens.end());
    paged.block_table.insert(paged.block_table.end(), sequence->blocks.begin(), sequence->blocks.end());
  }
  step.draws = draws_of(blocks_in_order(paged.rows()));
  return logits_of(decoder, step);
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
