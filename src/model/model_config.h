// The shape of a decoder-only transformer, whichever file it was read from.  Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace dynamo::model {

enum class Architecture : uint8_t { kLlama, kQwen2, kQwen3 };
std::string_view architecture_name(Architecture architecture);  // "llama", "qwen2", "qwen3"

// Llama 3's stretching of low frequencies.  Source: Hugging Face rope_type "llama3".
struct RopeScaling {
  float factor = 1.0F;
  float low_frequency_factor = 1.0F;
  float high_frequency_factor = 4.0F;
  uint32_t original_context = 8192;
};

struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  std::string name;  // what the file calls itself; may be empty
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
  bool has_qkv_bias = false;  // Qwen2
  bool has_qk_norm = false;   // Qwen3
  bool has_tied_embedding = false;

  std::vector<TokenId> eos_token_ids;
  std::optional<TokenId> bos_token_id;
  bool adds_bos = false;  // encode() of a plain prompt puts it first
  std::optional<float> default_temperature;
  std::optional<float> default_top_p;
  std::optional<int32_t> default_top_k;
};

}  // namespace dynamo::model
