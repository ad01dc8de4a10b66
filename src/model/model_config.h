// The shape of a decoder-only transformer, whichever file it was read from.  Private to the module.  Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "model/family.h"

namespace dynamo::model {

// Llama 3's stretching of low frequencies.  Source: Hugging Face rope_type "llama3".
struct RopeScaling {
  float factor = 1.0F;
  float low_frequency_factor = 1.0F;
  float high_frequency_factor = 4.0F;
  uint32_t original_context = 8192;
};

// A token that a file names by number as one that ends an answer, and where it says so.
struct NamedEnd {
  TokenId id = 0;
  std::string source;  // "generation_config.json: eos_token_id"
};

// The source of an end that tokenizer_config.json names.
inline constexpr const char* kTokenizerEos = "tokenizer_config.json: eos_token";

struct ModelConfig {
  const Family* family = nullptr;  // one of kFamilies
  std::string name;                // what the file calls itself; may be empty
  uint32_t layers = 0;
  uint32_t width = 0;  // of the residual stream
  uint32_t heads = 0;
  uint32_t kv_heads = 0;  // divides heads
  uint32_t head_dim = 0;  // not always width / heads; even
  uint32_t ffn_width = 0;
  uint32_t vocab_size = 0;
  uint32_t context_length = 0;  // tokens
  float norm_epsilon = 1e-5F;
  float rope_base = 10000.0F;
  std::optional<RopeScaling> rope_scaling;
  // GGUF only: per-pair divisors of the frequencies [head_dim / 2], instead of rope_scaling.
  std::vector<float> rope_factors;
  bool has_tied_embedding = false;

  // What the files say of special tokens, by number and by text; model/special_tokens.h makes one answer of it.
  std::vector<NamedEnd> named_ends;
  std::optional<TokenId> bos_token_id;
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::optional<float> default_temperature;
  std::optional<float> default_top_p;
  std::optional<int32_t> default_top_k;

  // What each layer computes.
  const LayerPlan& plan() const { return family->plan; }
};

// Whether a decoder can be made of it: counts within bounds that keep every later product small, heads that kv_heads
// divides, an even head_dim, finite numbers, token ids inside the vocabulary. Errors: kCorrupt, with the field, its
// value and what was expected.
Status validate(const ModelConfig& config);

}  // namespace dynamo::model
