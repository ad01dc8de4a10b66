// Qwen2 and Qwen2.5, and models that are built alike: DeepSeek-R1-Distill-Qwen. Llama with biases on q, k and v.
// Source: Qwen2 technical report; transformers' Qwen2Config, which has no attention_bias: the biases are always there.
#include "model/families/families.h"
#include "model/families/parts.h"

namespace dynamo::model {
namespace {

using namespace parts;

constexpr std::array kWeights = {
    kEmbeddingRow,       kAttentionNormRow, kQRow,    kQBiasRow, kKRow,    kKBiasRow,     kVRow,     kVBiasRow,
    kAttentionOutputRow, kFfnNormRow,       kGateRow, kUpRow,    kDownRow, kFinalNormRow, kOutputRow};
constexpr std::array kGguf = join(kGgufNoExperts, kGgufRules);

}  // namespace

constinit const Family kQwen2 = {.name = "qwen2",
                                 .gguf_name = "qwen2",
                                 .plan = {.has_qkv_bias = true},
                                 .weights = kWeights,
                                 .counts = kCounts,
                                 .hf_rules = kHfRules,
                                 .gguf_rules = kGguf};

}  // namespace dynamo::model
