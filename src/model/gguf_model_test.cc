#include "model/gguf_model.h"

#include <cmath>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/testing/gguf_writer.h"
#include "model/testing/smollm2.h"
#include "model/testing/tensor_bytes.h"
#include "model/testing/tiny_model.h"
#include "model/testing/tiny_tensors.h"
#include "model/weight_table.h"

namespace dynamo::model {
namespace {

using kernels::DType;
using testing::GgufWriter;
using ::testing::HasSubstr;
using testing::TinyModelSpec;

Result<std::unique_ptr<ModelSource>> open_bytes(const std::string& bytes) {
  const auto one = std::as_bytes(std::span(bytes));
  return open_gguf_bytes(std::span(&one, 1));
}

std::string stored_bytes(const kernels::MatrixSource& weight) {
  return {reinterpret_cast<const char*>(weight.data), weight.rows * kernels::row_bytes(weight.dtype, weight.columns)};
}

std::vector<TinyModelSpec> all_specs() {
  std::vector<TinyModelSpec> specs;
  for (const Family* family : kFamilies) {
    for (const auto dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1}) {
      TinyModelSpec spec;
      spec.family = family;
      spec.dtype = dtype;
      spec.has_tied_embedding = family != &kLlama;
      if (family == &kQwen3) spec.head_dim = 32;
      specs.push_back(spec);
    }
  }
  return specs;
}

TEST(GgufModel, EveryArchitectureAndTypeReadsBackInHalfSplitOrder) {
  for (const TinyModelSpec& spec : all_specs()) {
    const std::string bytes = testing::tiny_gguf(spec);
    const auto model = open_bytes(bytes);
    ASSERT_TRUE(model.is_ok()) << model.status().to_string();
    const ModelConfig config = testing::tiny_config(spec);
    for (const WeightSlot slot : weight_slots(config)) {
      const auto weight = (*model)->weight(slot.role, slot.layer);
      ASSERT_TRUE(weight.is_ok()) << weight.status().to_string();
      EXPECT_EQ(weight->dtype, is_vector(config, slot.role) ? DType::kF32 : spec.dtype);
      EXPECT_EQ(WeightShape({weight->rows, weight->columns}), weight_shape(config, slot.role));
      ASSERT_EQ(stored_bytes(*weight), testing::tensor_bytes(testing::tiny_tensor(config, slot), weight->dtype))
          << hf_weight_name(config, slot);
      EXPECT_EQ((*model)->weight(slot.role, slot.layer)->data, weight->data) << "asked again, it lies elsewhere";
    }
  }
}

TEST(GgufModel, TheConfigIsThatOfTheMetadata) {
  TinyModelSpec spec;
  spec.family = &kQwen3;
  spec.head_dim = 32;
  spec.rope_base = 1e6F;
  const std::string bytes = testing::tiny_gguf(spec);
  const auto model = open_bytes(bytes);
  ASSERT_TRUE(model.is_ok()) << model.status().to_string();
  const ModelConfig& config = (*model)->config();
  EXPECT_EQ(config.family, &kQwen3);
  EXPECT_EQ(config.name, "tiny qwen3");
  EXPECT_EQ(config.layers, 2);
  EXPECT_EQ(config.width, 64);
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.ffn_width, 96);
  EXPECT_EQ(config.vocab_size, 272);
  EXPECT_EQ(config.context_length, 512);
  EXPECT_EQ(config.norm_epsilon, 1e-5F);
  EXPECT_EQ(config.rope_base, 1e6F);
  EXPECT_TRUE(config.plan().has_qk_norm);
  EXPECT_FALSE(config.plan().has_qkv_bias);
  EXPECT_FALSE(config.has_tied_embedding);
  EXPECT_EQ(config.bos_token_id, 256);
  EXPECT_EQ(testing::named_ids(config), std::vector<TokenId>{258});
  EXPECT_EQ((*model)->chat_template(), testing::kTinyChatTemplate);
  EXPECT_EQ((*model)->stored().format, "GGUF v3");
}

TEST(GgufModel, RopeFactorsAreThoseOfTheFile) {
  TinyModelSpec spec;
  spec.rope_scaling = RopeScaling{8, 1, 4, 64};
  const std::string bytes = testing::tiny_gguf(spec);
  const auto model = open_bytes(bytes);
  ASSERT_TRUE(model.is_ok()) << model.status().to_string();
  const std::vector<float>& factors = (*model)->config().rope_factors;
  // From the inverse frequencies of transformers' LlamaRotaryEmbedding.
  const std::vector<float> expected = {1, 1.29397595F, 7.66738510F, 8, 8, 8, 8, 8};
  ASSERT_EQ(factors.size(), expected.size());
  for (size_t i = 0; i < factors.size(); ++i) EXPECT_NEAR(factors[i], expected[i], 1e-5) << i;
  EXPECT_FALSE((*model)->config().rope_scaling.has_value());
}

// The smallest Llama that a reader takes, for tests that break one thing.
struct SmallFile {
  SmallFile() {
    strings["general.architecture"] = "llama";
    for (const auto& [name, value] : std::map<std::string, uint32_t>{{"block_count", 1},
                                                                     {"context_length", 16},
                                                                     {"embedding_length", 32},
                                                                     {"feed_forward_length", 32},
                                                                     {"attention.head_count", 2},
                                                                     {"attention.head_count_kv", 1}}) {
      counts["llama." + name] = value;
    }
    numbers["llama.attention.layer_norm_rms_epsilon"] = 1e-5F;
    for (const auto& [name, rows] : std::map<std::string, uint64_t>{{"token_embd", 8},
                                                                    {"output_norm", 0},
                                                                    {"blk.0.attn_norm", 0},
                                                                    {"blk.0.attn_q", 32},
                                                                    {"blk.0.attn_k", 16},
                                                                    {"blk.0.attn_v", 16},
                                                                    {"blk.0.attn_output", 32},
                                                                    {"blk.0.ffn_norm", 0},
                                                                    {"blk.0.ffn_gate", 32},
                                                                    {"blk.0.ffn_up", 32},
                                                                    {"blk.0.ffn_down", 32}}) {
      tensors[name + ".weight"] = rows == 0 ? std::vector<uint64_t>{32} : std::vector<uint64_t>{32, rows};
    }
  }
  // Every tensor's data lies at the start of the same zeroes.
  std::string bytes() const {
    GgufWriter writer;
    for (const auto& [key, value] : strings) writer.add_string(key, value);
    for (const auto& [key, value] : counts) writer.add_u32(key, value);
    for (const auto& [key, value] : numbers) writer.add_f32(key, value);
    for (const auto& [name, dims] : tensors)
      writer.add_tensor_entry(name, dims, types.contains(name) ? types.at(name) : 0, 0);
    return writer.finish() + std::string(16384, '\0');
  }
  std::string failure() const {
    const std::string file = bytes();
    const auto model = open_bytes(file);
    return model.is_ok() ? "no failure" : model.status().to_string();
  }

  std::map<std::string, std::string> strings;
  std::map<std::string, uint32_t> counts;
  std::map<std::string, float> numbers;
  std::map<std::string, std::vector<uint64_t>> tensors;
  std::map<std::string, uint32_t> types;
};

TEST(GgufModel, EosEotAndEomAreEndsEachByItsKey) {
  SmallFile file;
  file.counts["tokenizer.ggml.eos_token_id"] = 3;
  file.counts["tokenizer.ggml.eot_token_id"] = 5;
  file.counts["tokenizer.ggml.eom_token_id"] = 3;
  const std::string bytes = file.bytes();
  const auto model = open_bytes(bytes);
  ASSERT_TRUE(model.is_ok()) << model.status().to_string();
  const auto& ends = (*model)->config().named_ends;
  ASSERT_EQ(testing::named_ids((*model)->config()), (std::vector<TokenId>{3, 5, 3}));
  EXPECT_EQ(ends[0].source, "tokenizer.ggml.eos_token_id");
  EXPECT_EQ(ends[1].source, "tokenizer.ggml.eot_token_id");
  EXPECT_EQ(ends[2].source, "tokenizer.ggml.eom_token_id");
}

TEST(GgufModel, TensorsMayLieOverEachOther) {
  const std::string bytes = SmallFile().bytes();
  const auto model = open_bytes(bytes);
  ASSERT_TRUE(model.is_ok()) << model.status().to_string();
  EXPECT_EQ(stored_bytes((*model)->weight(WeightRole::kK, 0).value()), std::string(16 * 128, '\0'));
  EXPECT_EQ(stored_bytes((*model)->weight(WeightRole::kQ, 0).value()), std::string(32 * 128, '\0'));
}

TEST(GgufModel, AdviceToLookAtAllTokensIsTopKZero) {
  for (const auto& [stored, read] :
       std::initializer_list<std::pair<float, int32_t>>{{-1.0F, 0}, {0.0F, 0}, {40.0F, 40}, {3e38F, 1'000'000'000}}) {
    SmallFile file;
    file.numbers["general.sampling.top_k"] = stored;
    const std::string bytes = file.bytes();
    const auto model = open_bytes(bytes);
    ASSERT_TRUE(model.is_ok()) << model.status().to_string();
    EXPECT_EQ((*model)->config().default_top_k, read);
  }
}

TEST(GgufModel, AdviceThatIsNoNumberIsRefusedByName) {
  SmallFile file;
  file.numbers["general.sampling.top_k"] = NAN;
  EXPECT_EQ(file.failure(), "corrupt: metadata 'general.sampling.top_k': is not finite");
}

TEST(GgufModel, WhatIsMissingIsNamed) {
  const SmallFile whole;
  ASSERT_EQ(whole.failure(), "no failure");
  for (const auto& [name, dims] : whole.tensors) {
    SmallFile file;
    file.tensors.erase(name);
    EXPECT_THAT(file.failure(), HasSubstr("tensor '" + name + "' is missing"));
  }
  for (const auto& [key, value] : whole.counts) {
    if (key == "llama.attention.head_count_kv") continue;
    SmallFile file;
    file.counts.erase(key);
    EXPECT_EQ(file.failure(), "corrupt: metadata '" + key + "' is missing");
  }
  SmallFile no_name;
  no_name.strings.clear();
  EXPECT_EQ(no_name.failure(), "corrupt: metadata 'general.architecture' is missing");
  SmallFile no_epsilon;
  no_epsilon.numbers.clear();
  EXPECT_THAT(no_epsilon.failure(), HasSubstr("layer_norm_rms_epsilon' is missing"));
}

TEST(GgufModel, AWrongShapeOrTypeIsRefusedByName) {
  SmallFile shape;
  shape.tensors["blk.0.attn_k.weight"] = {32, 8};
  EXPECT_EQ(shape.failure(), "corrupt: tensor 'blk.0.attn_k.weight' is 8 x 32; expected 16 x 32 (rows x columns)");
  SmallFile deep;
  deep.tensors["blk.0.attn_k.weight"] = {32, 16, 2};
  EXPECT_THAT(deep.failure(), HasSubstr("tensor 'blk.0.attn_k.weight' is"));
  SmallFile type;
  type.types["blk.0.ffn_up.weight"] = 24;
  EXPECT_EQ(
      type.failure(),
      "unsupported: tensor 'blk.0.ffn_up.weight' is of type I8; F32, F16, BF16, Q8_0, Q4_0 and Q4_1 are computed");
  SmallFile stranger;
  stranger.tensors["blk.0.attn_q.bias"] = {32};
  EXPECT_EQ(stranger.failure(), "unsupported: tensor 'blk.0.attn_q.bias' has no place in a llama model of 1 layers");
  SmallFile factors;
  factors.tensors["rope_freqs.weight"] = {4};
  EXPECT_EQ(factors.failure(), "corrupt: tensor 'rope_freqs.weight': expected 8 values of type F32");
}

TEST(GgufModel, FeaturesThatAreNotComputedAreRefusedByName) {
  SmallFile architecture;
  architecture.strings["general.architecture"] = "mamba";
  EXPECT_EQ(architecture.failure(), "unsupported: architecture 'mamba'; llama, qwen2 and qwen3 are computed");
  SmallFile scaling;
  scaling.strings["llama.rope.scaling.type"] = "yarn";
  EXPECT_THAT(scaling.failure(), HasSubstr("unsupported: metadata 'llama.rope.scaling.type': rope scaling 'yarn'"));
  SmallFile experts;
  experts.counts["llama.expert_count"] = 8;
  EXPECT_THAT(experts.failure(), HasSubstr("unsupported: metadata 'llama.expert_count' is 8"));
  SmallFile rotation;
  rotation.counts["llama.rope.dimension_count"] = 8;
  EXPECT_THAT(rotation.failure(), HasSubstr("unsupported: rotation of 8 of 16 dimensions"));
  SmallFile values;
  values.counts["llama.attention.value_length"] = 8;
  EXPECT_THAT(values.failure(), HasSubstr("unsupported: keys of 16 and values of 8 dimensions"));
}

TEST(GgufModel, AbsurdCountsAreRefused) {
  for (const auto& [key, value] : SmallFile().counts) {
    for (const uint32_t absurd : {0U, UINT32_MAX}) {
      SmallFile file;
      file.counts[key] = absurd;
      EXPECT_THAT(file.failure(), HasSubstr("corrupt: ")) << key << " = " << absurd;
    }
  }
  SmallFile vocabulary;
  vocabulary.counts["llama.vocab_size"] = 9;
  EXPECT_EQ(vocabulary.failure(),
            "corrupt: metadata 'llama.vocab_size' is 9, but tensor 'token_embd.weight' has 8 rows");
  SmallFile bos;
  bos.counts["tokenizer.ggml.bos_token_id"] = 8;
  EXPECT_EQ(bos.failure(), "corrupt: the bos token id 8 is outside the vocabulary of 8");
}

TEST(GgufModel, AMissingFileIsNotFoundAndAFolderIsNoFile) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(open_gguf(folder / "none.gguf").status().code(), Code::kNotFound);
  EXPECT_THAT(open_gguf(folder.path()).status().text(), HasSubstr("is a folder; a file was expected"));
  ASSERT_TRUE(testing::write_file(folder / "empty.gguf", "").is_ok());
  EXPECT_THAT(open_gguf(folder / "empty.gguf").status().text(), HasSubstr("empty.gguf: the file is empty"));
}

// Element `column` of a row of Q4_1 blocks.
float q4_1_at(const kernels::MatrixSource& weight, size_t row, size_t column) {
  const std::byte* block = weight.data + row * kernels::row_bytes(DType::kQ4_1, weight.columns) + column / 32 * 20;
  _Float16 scale_and_low[2];
  std::memcpy(scale_and_low, block, sizeof(scale_and_low));
  const auto pair = std::to_integer<int>(block[4 + column % 16]);
  const int nibble = column % 32 < 16 ? pair & 15 : pair >> 4;
  return static_cast<float>(scale_and_low[0]) * static_cast<float>(nibble) + static_cast<float>(scale_and_low[1]);
}

// Expected values: transformers 5.23 loading the same file, which undoes the permutation of q and k by itself.
TEST(GgufModel, TheDefaultModelsWeightsAreThoseThatTransformersReads) {
  const std::string path = testing::smollm2_path();
  if (path.empty()) GTEST_SKIP() << testing::kSmolLm2Missing;
  const auto model = open_gguf(path);
  ASSERT_TRUE(model.is_ok()) << model.status().to_string();
  const auto q = (*model)->weight(WeightRole::kQ, 0).value();
  EXPECT_EQ(q4_1_at(q, 0, 0), -0.0963134765625F);
  EXPECT_EQ(q4_1_at(q, 1, 31), 0.2586669921875F);
  EXPECT_EQ(q4_1_at(q, 33, 31), 0.49041748046875F);
  EXPECT_EQ(q4_1_at(q, 575, 575), -0.255859375F);
  const auto k = (*model)->weight(WeightRole::kK, 29).value();
  EXPECT_EQ(q4_1_at(k, 1, 31), -0.37109375F);
  EXPECT_EQ(q4_1_at(k, 191, 0), 0.2447509765625F);
  const auto down = (*model)->weight(WeightRole::kDown, 3).value();
  EXPECT_EQ(q4_1_at(down, 575, 1535), 0.3575439453125F);
  EXPECT_EQ((*model)->weight(WeightRole::kTokenEmbedding, 0).value().dtype, DType::kQ8_0);
}

TEST(GgufModel, TheDefaultModelsConfigIsAsPublished) {
  const std::string path = testing::smollm2_path();
  if (path.empty()) GTEST_SKIP() << testing::kSmolLm2Missing;
  const auto model = open_gguf(path);
  ASSERT_TRUE(model.is_ok()) << model.status().to_string();
  const ModelConfig& config = (*model)->config();
  EXPECT_EQ(config.layers, 30);
  EXPECT_EQ(config.width, 576);
  EXPECT_EQ(config.heads, 9);
  EXPECT_EQ(config.kv_heads, 3);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.ffn_width, 1536);
  EXPECT_EQ(config.vocab_size, 49152);
  EXPECT_EQ(config.context_length, 8192);
  EXPECT_EQ(config.rope_base, 100000.0F);
  EXPECT_TRUE(config.has_tied_embedding);
  EXPECT_EQ(config.bos_token_id, 1);
  EXPECT_EQ(testing::named_ids(config), std::vector<TokenId>{2});
  EXPECT_EQ((*model)->chat_template().size(), 368);
  const auto spec = (*model)->tokenizer();
  ASSERT_TRUE(spec.is_ok()) << spec.status().to_string();
  EXPECT_EQ(spec->vocab.size(), 49152);
  EXPECT_EQ(spec->merges.size(), 48900);
  EXPECT_EQ(spec->added.size(), 17);
}

}  // namespace
}  // namespace dynamo::model
