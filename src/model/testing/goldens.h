// Reads the goldens that tests/truth/ wrote: what transformers computes for tiny models and for SmolLM2.
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "base/ids.h"
#include "model/testing/tiny_model.h"

namespace dynamo::model::testing {

// One tiny model and the fp32 truth of its logits.
struct TinyGolden {
  std::string name;
  std::string folder;  // a committed model, inside testdata; empty: written from `spec`
  TinyModelSpec spec;
  double bf16_error = 0;  // relative RMS error of transformers in bf16; bf16 models only
  std::vector<TokenId> tokens;
  std::vector<uint32_t> positions;  // whose logits are known
  std::vector<float> logits;        // [positions][vocab_size]
};

// `testdata` is the folder with tiny_goldens.json and tiny_goldens.f32. CHECKs that they are well formed.
std::vector<TinyGolden> read_tiny_goldens(const std::string& testdata);

// The likeliest tokens of one position; logits are relative to the mean of all.
struct TopLogits {
  uint32_t position = 0;
  double log_sum_exp = 0;
  double rms = 0;  // of all logits
  std::vector<TokenId> tokens;
  std::vector<double> logits;
};

struct SmolLm2Golden {
  std::vector<TokenId> tokens;
  std::vector<TopLogits> positions;
  std::vector<TokenId> prompt;  // "What is the capital of France?" in the model's chat template
  std::vector<TokenId> answer;  // greedy, with the token that ends it
};

SmolLm2Golden read_smollm2_golden(const std::string& testdata);

}  // namespace dynamo::model::testing
