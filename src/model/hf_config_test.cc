#include "model/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/testing/tiny_model.h"

namespace dynamo::model {
namespace {

using ::testing::HasSubstr;

// A config.json of `model_type` with these fields besides the necessary ones; a field given twice counts as given last.
std::string config_with(const std::string& model_type, const std::string& more = "") {
  return R"({"model_type":")" + model_type +
         R"(","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,"intermediate_size":96,"vocab_size":300,)"
         R"("max_position_embeddings":512)" +
         (more.empty() ? "" : "," + more) + "}";
}

std::string failure_of(const std::string& json) {
  const auto config = hf_config(json);
  return config.is_ok() ? "no failure" : config.status().to_string();
}

TEST(HfConfig, AbsentFieldsHaveTheDefaultsOfTransformers) {
  const ModelConfig llama = hf_config(config_with("llama")).value();
  EXPECT_EQ(llama.family, &kLlama);
  EXPECT_EQ(llama.kv_heads, 4);
  EXPECT_EQ(llama.head_dim, 16);
  EXPECT_EQ(llama.norm_epsilon, 1e-6F);
  EXPECT_EQ(llama.rope_base, 10000.0F);
  EXPECT_FALSE(llama.has_tied_embedding);
  EXPECT_FALSE(llama.rope_scaling.has_value());
  EXPECT_TRUE(llama.named_ends.empty());
  EXPECT_TRUE(hf_config(config_with("qwen2")).value().plan().has_qkv_bias);
  EXPECT_EQ(hf_config(config_with("qwen3")).value().head_dim, 128);
  EXPECT_TRUE(hf_config(config_with("qwen3", R"("head_dim":32)")).value().plan().has_qk_norm);
}

TEST(HfConfig, RopeIsReadAsVersions4And5WriteIt) {
  const auto old_style = hf_config(config_with("llama", R"("rope_theta":500000.0,"rope_scaling":{"rope_type":"llama3",)"
                                                        R"("factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4,)"
                                                        R"("original_max_position_embeddings":128})"));
  const auto new_style =
      hf_config(config_with("llama", R"("rope_parameters":{"rope_theta":500000,"rope_type":"llama3",)"
                                     R"("factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,)"
                                     R"("original_max_position_embeddings":128})"));
  for (const auto* config : {&old_style, &new_style}) {
    ASSERT_TRUE(config->is_ok()) << config->status().to_string();
    EXPECT_EQ((**config).rope_base, 500000.0F);
    ASSERT_TRUE((**config).rope_scaling.has_value());
    EXPECT_EQ((**config).rope_scaling->factor, 8.0F);
    EXPECT_EQ((**config).rope_scaling->high_frequency_factor, 4.0F);
    EXPECT_EQ((**config).rope_scaling->original_context, 128);
  }
  const auto plain = hf_config(config_with("qwen3", R"("rope_parameters":{"rope_theta":1e6,"rope_type":"default"})"));
  EXPECT_EQ(plain.value().rope_base, 1e6F);
  EXPECT_FALSE(plain->rope_scaling.has_value());
  EXPECT_EQ(failure_of(config_with("llama", R"("rope_scaling":null)")), "no failure");
}

TEST(HfConfig, OtherRopesAreRefusedByName) {
  EXPECT_EQ(failure_of(config_with("llama", R"("rope_scaling":{"type":"linear","factor":2.0})")),
            "unsupported: rope_scaling: rope_type 'linear'; default and llama3 are computed");
  EXPECT_EQ(failure_of(config_with("qwen2", R"("rope_parameters":{"rope_theta":1e6,"rope_type":"yarn","factor":4.0})")),
            "unsupported: rope_parameters: rope_type 'yarn'; default and llama3 are computed");
  EXPECT_THAT(failure_of(config_with("llama", R"("rope_scaling":{"rope_type":"llama3","factor":8.0})")),
              HasSubstr("field 'low_freq_factor' of the llama3 rope scaling is missing"));
  EXPECT_THAT(failure_of(config_with("llama", R"("rope_parameters":{"full_attention":{"rope_type":"default"}})")),
              HasSubstr("unsupported: rope_parameters: a rope scaling without a rope_type"));
  EXPECT_THAT(failure_of(config_with("llama", R"("rope_parameters":{"rope_theta":1e4,"partial_rotary_factor":0.5})")),
              HasSubstr("partial_rotary_factor 0.5"));
}

TEST(HfConfig, FeaturesThatAreNotComputedAreRefusedByName) {
  EXPECT_EQ(failure_of(config_with("mistral")),
            "unsupported: model_type 'mistral'; llama, qwen2 and qwen3 are computed");
  EXPECT_THAT(failure_of(config_with("llama", R"("attention_bias":true)")), HasSubstr("'attention_bias' is true"));
  EXPECT_THAT(failure_of(config_with("llama", R"("mlp_bias":true)")), HasSubstr("'mlp_bias' is true"));
  EXPECT_THAT(failure_of(config_with("qwen2", R"("use_sliding_window":true)")),
              HasSubstr("'use_sliding_window' is true"));
  EXPECT_EQ(failure_of(config_with("qwen2", R"("use_sliding_window":false,"sliding_window":4096)")), "no failure");
  EXPECT_THAT(failure_of(config_with("qwen2", R"("layer_types":["full_attention","sliding_attention"])")),
              HasSubstr("layer_types holds 'sliding_attention'"));
  EXPECT_THAT(failure_of(config_with("llama", R"("hidden_act":"gelu")")), HasSubstr("hidden_act 'gelu'"));
  EXPECT_THAT(failure_of(config_with("llama", R"("quantization_config":{"quant_method":"gptq"})")),
              HasSubstr("unsupported: weights quantised by 'gptq'"));
  EXPECT_THAT(failure_of(config_with("llama", R"("architectures":["LlamaForSequenceClassification"])")),
              HasSubstr("architectures[0] is 'LlamaForSequenceClassification'"));
}

TEST(HfConfig, WrongFieldsAreNamedWithWhatWasExpected) {
  EXPECT_EQ(failure_of("{}"), "corrupt: field 'model_type' is missing");
  EXPECT_EQ(failure_of(R"({"model_type":"llama"})"), "corrupt: field 'num_hidden_layers' is missing");
  EXPECT_EQ(failure_of(config_with("llama", R"("hidden_size":"64")")),
            "corrupt: field 'hidden_size' is of type string; expected an integer");
  EXPECT_EQ(failure_of(config_with("llama", R"("hidden_size":-64)")),
            "corrupt: field 'hidden_size' is -64; expected 0 to 4294967295");
  EXPECT_EQ(failure_of(config_with("llama", R"("num_hidden_layers":4000000000)")),
            "corrupt: the number of layers is 4000000000; expected 1 to 1024");
  EXPECT_EQ(failure_of(config_with("llama", R"("num_key_value_heads":3)")),
            "corrupt: 4 heads are no multiple of 3 KV heads");
  EXPECT_EQ(failure_of(config_with("llama", R"("head_dim":15)")), "corrupt: the head dimension 15 is odd");
  EXPECT_EQ(failure_of(config_with("llama", R"("num_attention_heads":7)")),
            "corrupt: hidden_size 64 is no multiple of num_attention_heads 7, and head_dim is missing");
  EXPECT_EQ(failure_of(config_with("llama", R"("eos_token_id":300)")),
            "corrupt: the eos token id 300 is outside the vocabulary of 300");
  EXPECT_THAT(failure_of(config_with("llama", R"("rope_theta":0)")), HasSubstr("the rope base is 0; expected 1 to"));
  EXPECT_THAT(failure_of(config_with("llama", R"("rms_norm_eps":-1)")), HasSubstr("the norm's epsilon is -1"));
}

TEST(HfConfig, WhatIsNoJsonIsRefusedWithItsPlace) {
  EXPECT_THAT(failure_of(""), HasSubstr("corrupt: at byte 0: not valid JSON"));
  EXPECT_THAT(failure_of("{\"a\":1,}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(failure_of("[1]"), HasSubstr("is JSON of type array; expected an object"));
  EXPECT_THAT(failure_of("{\"a\":" + std::string(1000, '[')), HasSubstr("not valid JSON"));
}

TEST(HfConfig, GenerationConfigReplacesTheEndsAndAdvises) {
  ModelConfig config = hf_config(config_with("llama", R"("eos_token_id":2,"bos_token_id":1)")).value();
  EXPECT_EQ(testing::named_ids(config), std::vector<TokenId>{2});
  EXPECT_EQ(config.named_ends.front().source, "config.json: eos_token_id");
  ASSERT_TRUE(apply_generation_config(
                  R"({"eos_token_id":[7,9,7],"do_sample":true,"temperature":0.6,"top_p":0.95,"top_k":20})", &config)
                  .is_ok());
  EXPECT_EQ(testing::named_ids(config), (std::vector<TokenId>{7, 9}));
  EXPECT_EQ(config.named_ends.back().source, "generation_config.json: eos_token_id");
  EXPECT_EQ(config.bos_token_id, 1);
  EXPECT_EQ(config.default_temperature, 0.6F);
  EXPECT_EQ(config.default_top_p, 0.95F);
  EXPECT_EQ(config.default_top_k, 20);
}

TEST(HfConfig, IntegersMayBeWrittenAsWritersOfFloatsDo) {
  const auto config = hf_config(config_with("llama", R"("max_position_embeddings":2048.0,"vocab_size":3e2,)"
                                                     R"("num_key_value_heads":2.0,"eos_token_id":[2.0,1],)"
                                                     R"("rope_scaling":{"rope_type":"llama3","factor":8,)"
                                                     R"("low_freq_factor":1,"high_freq_factor":4,)"
                                                     R"("original_max_position_embeddings":128.0})"));
  ASSERT_TRUE(config.is_ok()) << config.status().to_string();
  EXPECT_EQ(config->context_length, 2048);
  EXPECT_EQ(config->vocab_size, 300);
  EXPECT_EQ(config->kv_heads, 2);
  EXPECT_EQ(config->rope_scaling->original_context, 128);
  EXPECT_EQ(testing::named_ids(*config), (std::vector<TokenId>{2, 1}));
  EXPECT_EQ(failure_of(config_with("llama", R"("max_position_embeddings":2048.5)")),
            "corrupt: field 'max_position_embeddings' is 2048.5; expected an integer");
  EXPECT_EQ(failure_of(config_with("llama", R"("max_position_embeddings":1e300)")),
            "corrupt: field 'max_position_embeddings' is 1e+300; expected 0 to 4294967295");
  EXPECT_EQ(failure_of(config_with("llama", R"("max_position_embeddings":-1.0)")),
            "corrupt: field 'max_position_embeddings' is -1; expected 0 to 4294967295");
  EXPECT_EQ(failure_of(config_with("llama", R"("max_position_embeddings":18446744073709551615)")),
            "corrupt: field 'max_position_embeddings' is 18446744073709551615; expected 0 to 4294967295");
  EXPECT_EQ(failure_of(config_with("llama", R"("eos_token_id":true)")),
            "corrupt: field 'eos_token_id' is of type bool; expected an integer");
}

TEST(HfConfig, ATopKThatIsOffIsOff) {
  const auto top_k = [](const std::string& value) {
    ModelConfig config = hf_config(config_with("llama")).value();
    const Status status = apply_generation_config(R"({"top_k":)" + value + "}", &config);
    if (!status.is_ok()) return status.to_string();
    return config.default_top_k ? std::to_string(*config.default_top_k) : "none";
  };
  EXPECT_EQ(top_k("-1"), "0");
  EXPECT_EQ(top_k("-1.0"), "0");
  EXPECT_EQ(top_k("0"), "0");
  EXPECT_EQ(top_k("50.0"), "50");
  EXPECT_EQ(top_k("4294967295"), "2147483647");
  EXPECT_EQ(top_k("null"), "none");
  EXPECT_EQ(top_k("-2"), "corrupt: field 'top_k' is -2; expected -1 to 4294967295");
  EXPECT_EQ(top_k("50.5"), "corrupt: field 'top_k' is 50.5; expected an integer");
  EXPECT_EQ(top_k(R"("50")"), "corrupt: field 'top_k' is of type string; expected an integer");
}

TEST(HfConfig, AGenerationConfigThatDoesNotSampleIsGreedy) {
  ModelConfig config = hf_config(config_with("llama")).value();
  ASSERT_TRUE(apply_generation_config(R"({"do_sample":false,"temperature":0.6,"top_p":0.9})", &config).is_ok());
  EXPECT_EQ(config.default_temperature, 0.0F);
  EXPECT_FALSE(config.default_top_p.has_value());
  ModelConfig silent = hf_config(config_with("llama")).value();
  ASSERT_TRUE(apply_generation_config("{}", &silent).is_ok());
  EXPECT_FALSE(silent.default_temperature.has_value());
  EXPECT_FALSE(apply_generation_config(R"({"eos_token_id":300})", &silent).is_ok());
}

TEST(HfTokenizerConfig, ReadsTemplateAndTokens) {
  const auto plain = hf_tokenizer_config(R"({"chat_template":"T","bos_token":"<s>","eos_token":{"content":"</s>"},)"
                                         R"("add_bos_token":true,"added_tokens_decoder":{"5":{"content":"</s>"}}})");
  ASSERT_TRUE(plain.is_ok()) << plain.status().to_string();
  EXPECT_EQ(plain->chat_template, "T");
  EXPECT_EQ(plain->bos_token, "<s>");
  EXPECT_EQ(plain->eos_token, "</s>");
  EXPECT_EQ(plain->eos_token_id, 5);
  EXPECT_FALSE(plain->bos_token_id.has_value());
  EXPECT_TRUE(plain->adds_bos);
  const auto named = hf_tokenizer_config(
      R"({"chat_template":[{"name":"tool_use","template":"A"},{"name":"default","template":"B"}]})");
  EXPECT_EQ(named.value().chat_template, "B");
  EXPECT_EQ(hf_tokenizer_config("{}").value().chat_template, "");
  EXPECT_FALSE(hf_tokenizer_config(R"({"chat_template":3})").is_ok());
}

}  // namespace
}  // namespace dynamo::model
