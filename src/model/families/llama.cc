// Llama 1 to 3.2, and models that are built alike: SmolLM2, DeepSeek-R1-Distill-Llama.
// Source: Touvron et al. 2023; transformers' LlamaConfig. GGUF files hold q and k for interleaved rotation.
#include "model/families/families.h"
#include "model/families/parts.h"

namespace dynamo::model {
namespace {

using namespace parts;

constexpr std::array kWeights = {kEmbeddingRow, kAttentionNormRow, kQRow,  kKRow,    kVRow,         kAttentionOutputRow,
                                 kFfnNormRow,   kGateRow,          kUpRow, kDownRow, kFinalNormRow, kOutputRow};
constexpr std::array kHf = join(kHfNoAttentionBias, kHfRules);
constexpr std::array kGguf = join(kGgufNoExperts, kGgufRules);

}  // namespace

constinit const Family kLlama = {.name = "llama",
                                 .gguf_name = "llama",
                                 .plan = {},
                                 .weights = kWeights,
                                 .counts = kCounts,
                                 .hf_rules = kHf,
                                 .gguf_rules = kGguf,
                                 .gguf_qk_rows = RowOrder::kPairs};

}  // namespace dynamo::model
