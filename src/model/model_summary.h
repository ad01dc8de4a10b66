// What a model is, in figures and as text for people.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/model_source.h"
#include "model/special_tokens.h"

namespace dynamo::model {

struct ModelSummary {
  std::string path;
  ModelConfig config;
  StoredModel stored;
  uint64_t parameters = 0;      // tied ones count once
  uint64_t weight_bytes = 0;    // as stored
  size_t kv_token_bytes = 0;    // of one token's keys and values in all layers, as F16
  size_t tokenizer_tokens = 0;  // ids in use
  size_t tokenizer_merges = 0;
  SpecialTokens special_tokens;
  bool adds_bos = false;           // a prompt begins with bos, put there by the tokenizer
  size_t chat_template_bytes = 0;  // 0: none
};

// Errors: those of open_model() and ModelSource::tokenizer().
Result<ModelSummary> summarize_model(const std::string& path);

// Some twenty lines, "key  value" each.
std::string format_summary(const ModelSummary& summary);

// Both in one: what `dynamo model PATH` prints.
Result<std::string> describe_model(const std::string& path);

}  // namespace dynamo::model
