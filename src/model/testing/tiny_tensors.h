// The weights and vocabulary of a tiny model, for the writers of both formats.
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "model/testing/tiny_model.h"
#include "model/weight_table.h"

namespace dynamo::model::testing {

// Row-major, in Hugging Face's layout, by the formula of tiny_model.h.
std::vector<float> tiny_tensor(const ModelConfig& config, WeightSlot slot);
// Token strings in GPT-2's byte alphabet: bytes, then the special ones.
std::vector<std::string> tiny_vocabulary(const TinyModelSpec& spec);
constexpr uint32_t kTinyFirstSpecial = 256;

}  // namespace dynamo::model::testing
