// The angles of rotary position embedding: frequencies of a model, and cos and sin of every position.
//
// Computed in double and rounded once, so that late positions are as exact as early ones.
// Source: Su et al. 2021 (pairs by halves); Llama 3's stretching as Hugging Face's rope_type "llama3" defines it.
// Threads: pure functions.  Private to the module.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model_config.h"

namespace dynamo::model {

// Radians per position of each pair: [head_dim / 2], the fastest first, scaled as the config says.
// Requires: head_dim is even; rope_factors is empty or has one entry, not 0, per pair.
std::vector<double> rope_frequencies(const ModelConfig& config);

// Writes cos and sin of `position` for every pair. Requires: both outputs have frequencies.size() entries.
void rope_angles(std::span<const double> frequencies, uint32_t position, std::span<float> cosines,
                 std::span<float> sines);

}  // namespace dynamo::model
