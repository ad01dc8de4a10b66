#include "model/model_config.h"

#include <cmath>

#include <gtest/gtest.h>

#include "model/families/families.h"
#include "model/testing/tiny_model.h"
#include "model/weight_table.h"

namespace dynamo::model {
namespace {

std::string failure_with(void (*change)(ModelConfig*)) {
  ModelConfig config = testing::tiny_config({});
  change(&config);
  return validate(config).to_string();
}

TEST(ModelConfig, AnArchitectureIsFoundByItsName) {
  for (const Family* known : kFamilies) {
    EXPECT_EQ(find_family(&Family::name, known->name, "model_type").value(), known);
    EXPECT_EQ(find_family(&Family::gguf_name, known->gguf_name, "architecture").value(), known);
  }
  EXPECT_FALSE(find_family(&Family::name, "Llama", "model_type").is_ok());
}

TEST(ModelConfig, ValuesOutOfBoundsAreRefusedWithBoth) {
  EXPECT_EQ(failure_with([](ModelConfig*) {}), "ok");
  EXPECT_EQ(failure_with([](ModelConfig* c) { c->layers = 0; }),
            "corrupt: the number of layers is 0; expected 1 to 1024");
  EXPECT_EQ(failure_with([](ModelConfig* c) { c->width = UINT32_MAX; }),
            "corrupt: the width is 4294967295; expected 1 to 131072");
  EXPECT_EQ(failure_with([](ModelConfig* c) { c->kv_heads = 0; }),
            "corrupt: the number of KV heads is 0; expected 1 to 1024");
  EXPECT_EQ(failure_with([](ModelConfig* c) { c->context_length = 1U << 30; }),
            "corrupt: the context length is 1073741824; expected 1 to 16777216");
  EXPECT_EQ(failure_with([](ModelConfig* c) { c->norm_epsilon = NAN; }),
            "corrupt: the norm's epsilon is nan; expected 1e-30 to 1");
  EXPECT_EQ(failure_with([](ModelConfig* c) { c->rope_base = INFINITY; }),
            "corrupt: the rope base is inf; expected 1 to 1000000000000");
  EXPECT_EQ(failure_with([](ModelConfig* c) { c->rope_factors = {1, 0}; }),
            "corrupt: a rope factor is 0; expected 1e-06 to 1000000");
  EXPECT_EQ(failure_with([](ModelConfig* c) { c->rope_scaling = RopeScaling{8, 4, 4, 64}; }),
            "corrupt: the rope scaling's low frequency factor 4 is not below the high one 4");
  EXPECT_EQ(failure_with([](ModelConfig* c) { c->bos_token_id = 272; }),
            "corrupt: the bos token id 272 is outside the vocabulary of 272");
  EXPECT_EQ(failure_with([](ModelConfig* c) { c->default_top_p = 1.5F; }),
            "corrupt: the default top_p is 1.5; expected 0 to 1");
}

TEST(WeightTable, NamesAreThoseOfBothFormats) {
  const ModelConfig config = testing::tiny_config({});
  EXPECT_EQ(hf_weight_name(config, {WeightRole::kQ, 11}), "model.layers.11.self_attn.q_proj.weight");
  EXPECT_EQ(gguf_weight_name(config, {WeightRole::kQ, 11}), "blk.11.attn_q.weight");
  EXPECT_EQ(gguf_weight_name(config, {WeightRole::kOutput, 0}), "output.weight");
}

TEST(WeightTable, EachArchitectureHasItsOwnWeights) {
  testing::TinyModelSpec spec;
  EXPECT_EQ(weight_slots(testing::tiny_config(spec)).size(), 2 * 9 + 3);
  spec.has_tied_embedding = true;
  EXPECT_EQ(weight_slots(testing::tiny_config(spec)).size(), 2 * 9 + 2);
  spec.family = &kQwen2;
  EXPECT_EQ(weight_slots(testing::tiny_config(spec)).size(), 2 * 12 + 2);
  spec.family = &kQwen3;
  EXPECT_EQ(weight_slots(testing::tiny_config(spec)).size(), 2 * 11 + 2);
}

}  // namespace
}  // namespace dynamo::model
