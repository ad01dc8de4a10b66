// What a frontend must know of a model to serve it; files and weights stay with the worker.
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "kv/kv_layout.h"

namespace dynamo {

struct ModelCard {
  std::string name;             // served name; may hold a slash
  std::string architecture;     // "llama", "qwen2", "qwen3"
  std::string dtype;            // of most weights: "Q4_1", "BF16"
  uint32_t context_length = 0;  // prompt and answer together, in tokens
  uint32_t vocab_size = 0;
  uint32_t block_tokens = kv::kDefaultBlockTokens;  // tokens per KV block
  std::vector<TokenId> eos_token_ids;               // end the answer unless the client says ignore_eos
  std::optional<TokenId> bos_token_id;
  std::string bos_token;  // text that templates see
  std::string eos_token;
  // What the model's authors advise; used where a request is silent.
  std::optional<float> default_temperature;
  std::optional<float> default_top_p;
  std::optional<int32_t> default_top_k;
};

}  // namespace dynamo
