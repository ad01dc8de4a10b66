#include "model/families/families.h"

#include <algorithm>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/config_fields.h"
#include "model/weight_table.h"

namespace dynamo::model {
namespace {

using ::testing::HasSubstr;

bool has_row(const Family& family, WeightRole role) {
  return std::ranges::any_of(family.weights, [&](const WeightRow& row) { return row.role == role; });
}

TEST(Families, EachHasTheWeightsThatItsPlanComputesWith) {
  using enum WeightRole;
  for (const Family* family : kFamilies) {
    SCOPED_TRACE(family->name);
    for (const WeightRole role :
         {kTokenEmbedding, kAttentionNorm, kQ, kK, kV, kAttentionOutput, kFfnNorm, kFinalNorm, kOutput}) {
      EXPECT_TRUE(has_row(*family, role));
    }
    for (const WeightRole role : {kQBias, kKBias, kVBias}) EXPECT_EQ(has_row(*family, role), family->plan.has_qkv_bias);
    for (const WeightRole role : {kQNorm, kKNorm}) EXPECT_EQ(has_row(*family, role), family->plan.has_qk_norm);
  }
}

TEST(Families, NoTwoWeightsOfAModelShareANameOrARole) {
  for (const Family* family : kFamilies) {
    SCOPED_TRACE(family->name);
    ModelConfig config;
    config.family = family;
    config.layers = 3;
    std::set<std::string> names;
    std::set<WeightSlot> slots;
    for (const WeightSlot slot : weight_slots(config)) {
      EXPECT_TRUE(slots.insert(slot).second);
      EXPECT_TRUE(names.insert(hf_weight_name(config, slot)).second) << hf_weight_name(config, slot);
      EXPECT_TRUE(names.insert(gguf_weight_name(config, slot)).second) << gguf_weight_name(config, slot);
    }
  }
}

// One field, which says `value`.
class OneField : public ConfigFields {
 public:
  OneField(std::string_view key, FieldValue value) : key_(key), value_(value) {}
  Result<std::optional<uint32_t>> find_count(std::string_view) const override { return std::optional<uint32_t>(); }
  Result<std::optional<double>> find_number(std::string_view key) const override { return find<double>(key); }
  Result<std::optional<bool>> find_bool(std::string_view key) const override { return find<bool>(key); }
  Result<std::optional<std::string>> find_string(std::string_view key) const override {
    TRY(const auto found, find<std::string_view>(key));
    return found ? std::optional(std::string(*found)) : std::nullopt;
  }
  std::string called(std::string_view key) const override { return std::string(key); }
  std::string says(std::string_view key, const FieldValue& value) const override {
    return called(key) + " is " + value_text(value);
  }

 private:
  template <class T>
  Result<std::optional<T>> find(std::string_view key) const {
    const T* value = std::get_if<T>(&value_);
    return key == key_ && value != nullptr ? std::optional(*value) : std::nullopt;
  }

  std::string_view key_;
  FieldValue value_;
};

FieldValue another(const FieldValue& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return !*flag;
  if (std::holds_alternative<double>(value)) return 2.5;
  return "something else";
}

TEST(Families, EachRuleTakesItsValueAndRefusesAnotherByName) {
  for (const Family* family : kFamilies) {
    for (const std::span<const Rule> rules : {family->hf_rules, family->gguf_rules}) {
      for (const Rule& rule : rules) {
        EXPECT_TRUE(refuse_others(OneField("another", rule.only), rules).is_ok());
        EXPECT_TRUE(refuse_others(OneField(rule.key, rule.only), rules).is_ok());
        const FieldValue wrong = another(rule.only);
        const Status status = refuse_others(OneField(rule.key, wrong), rules);
        EXPECT_EQ(status.code(), Code::kUnsupported);
        EXPECT_THAT(status.text(), HasSubstr(std::string(rule.key) + " is " + value_text(wrong) + "; only "));
        EXPECT_THAT(status.text(), HasSubstr(value_text(rule.only)));
      }
    }
  }
}

TEST(Families, AScaleOfZeroIsOffWhereTheRuleSaysSo) {
  const std::span<const Rule> rules = kLlama.gguf_rules;
  EXPECT_TRUE(refuse_others(OneField("logit_scale", 0.0), rules).is_ok());
  EXPECT_FALSE(refuse_others(OneField("rope.scaling.factor", 0.0), rules).is_ok());
  EXPECT_FALSE(refuse_others(OneField("attention.causal", false), rules).is_ok());
}

}  // namespace
}  // namespace dynamo::model
