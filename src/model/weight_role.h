// Where a weight matrix or vector sits in the transformer.  Private to the module.  Threads: values.
#pragma once

#include <cstdint>

namespace dynamo::model {

enum class WeightRole : uint8_t {
  kTokenEmbedding,  // of the whole model, as are the next two
  kFinalNorm,
  kOutput,         // absent when tied to the embedding
  kAttentionNorm,  // per layer, as are all that follow
  kQ,
  kK,
  kV,
  kQBias,
  kKBias,
  kVBias,
  kQNorm,
  kKNorm,
  kAttentionOutput,
  kFfnNorm,
  kGate,
  kUp,
  kDown,
};

}  // namespace dynamo::model
