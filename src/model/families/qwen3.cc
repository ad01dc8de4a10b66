// Qwen3, dense. Llama with a norm on each head of q and k.
// Source: Qwen3 technical report; transformers' Qwen3Config, whose head_dim is 128 where it is absent.
#include "model/families/families.h"
#include "model/families/parts.h"

namespace dynamo::model {
namespace {

using namespace parts;

constexpr std::array kWeights = {kEmbeddingRow, kAttentionNormRow,   kQRow,       kKRow,    kVRow,  kQNormRow,
                                 kKNormRow,     kAttentionOutputRow, kFfnNormRow, kGateRow, kUpRow, kDownRow,
                                 kFinalNormRow, kOutputRow};
constexpr std::array kHf = join(kHfNoAttentionBias, kHfRules);
constexpr std::array kGguf = join(kGgufNoExperts, kGgufRules);

}  // namespace

constinit const Family kQwen3 = {.name = "qwen3",
                                 .gguf_name = "qwen3",
                                 .plan = {.has_qk_norm = true},
                                 .weights = kWeights,
                                 .counts = kCounts,
                                 .hf_rules = kHf,
                                 .gguf_rules = kGguf,
                                 .hf_defaults = {.head_dim = 128}};

}  // namespace dynamo::model
