// What the JSON files of a Hugging Face folder say about a model.
// Source: transformers' LlamaConfig, Qwen2Config, Qwen3Config and GenerationConfig, as versions 4 and 5 write them.
// Threads: pure functions.  Private to the module.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "model/model_config.h"

namespace dynamo::model {

// config.json. Errors: kCorrupt (the field, what it is, what was expected), kUnsupported (the field and its value).
Result<ModelConfig> hf_config(std::string_view json);

// generation_config.json: its token ids replace those of config.json, and what it advises for sampling is taken over.
Status apply_generation_config(std::string_view json, ModelConfig* config);

// The parts of tokenizer_config.json that matter here.
struct HfTokenizerConfig {
  std::string chat_template;  // empty: none. Of several named ones, "default"
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::optional<TokenId> bos_token_id;  // where the file says it
  std::optional<TokenId> eos_token_id;
  bool adds_bos = false;
};
Result<HfTokenizerConfig> hf_tokenizer_config(std::string_view json);

}  // namespace dynamo::model
