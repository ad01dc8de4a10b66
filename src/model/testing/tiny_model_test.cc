#include "model/testing/tiny_model.h"

#include <gtest/gtest.h>

#include "model/testing/tensor_bytes.h"

namespace dynamo::model::testing {
namespace {

TEST(TinyModel, WeightsAreThoseOfTheFormulaInNumpy) {
  EXPECT_EQ(tiny_weight("model.embed_tokens.weight", 64, 0), -0x1.07a0p-5F);
  EXPECT_EQ(tiny_weight("model.embed_tokens.weight", 64, 17407), 0x1.c9d8p-5F);
  EXPECT_EQ(tiny_weight("model.layers.1.self_attn.q_proj.weight", 64, 65), 0x1.9a58p-4F);
  EXPECT_EQ(tiny_weight("model.layers.0.mlp.down_proj.weight", 96, 7), 0x1.66e4p-4F);
  EXPECT_EQ(tiny_weight("model.norm.weight", 64, 3), 0x1.11ffp+0F);
  EXPECT_EQ(tiny_weight("model.layers.0.self_attn.k_proj.bias", 32, 31), -0x1.3fp-7F);
}

TEST(TensorBytes, PlainTypesRoundToNearestTiesToEven) {
  const float values[] = {1.0F, -0x1.01p0F, 0x1.03p0F};
  EXPECT_EQ(tensor_bytes(values, kernels::DType::kBF16), std::string("\x80\x3F\x80\xBF\x82\x3F", 6));
  EXPECT_EQ(tensor_bytes(values, kernels::DType::kF16), std::string("\x00\x3C\x04\xBC\x0C\x3C", 6));
}

TEST(TensorBytes, BlocksHoldWhatCanBeHeldExactly) {
  std::vector<float> values(32);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 16) - 8;
  const std::string q4_0 = tensor_bytes(values, kernels::DType::kQ4_0);
  ASSERT_EQ(q4_0.size(), 18);
  EXPECT_EQ(q4_0.substr(0, 4), std::string("\x00\x3C\x00\x11", 4));  // scale 1; 0 is -8 and 1 is -7, both halves alike
  const std::string q4_1 = tensor_bytes(values, kernels::DType::kQ4_1);
  EXPECT_EQ(q4_1.substr(0, 6), std::string("\x00\x3C\x00\xC8\x00\x11", 6));  // scale 1, low -8
  values[0] = 127;
  EXPECT_EQ(tensor_bytes(values, kernels::DType::kQ8_0).substr(0, 4), std::string("\x00\x3C\x7F\xF9", 4));
}

}  // namespace
}  // namespace dynamo::model::testing
