#include "model/model_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/testing/smollm2.h"
#include "model/testing/tiny_model.h"

namespace dynamo::model {
namespace {

using ::testing::HasSubstr;

TEST(ModelSummary, AFolderAndAFileOfOneModelSayTheSame) {
  const testing::TemporaryFolder folder;
  testing::TinyModelSpec spec;
  spec.family = &kQwen3;
  spec.has_tied_embedding = true;
  ASSERT_TRUE(write_tiny_hf_folder(spec, folder / "model").is_ok());
  ASSERT_TRUE(write_tiny_gguf(spec, folder / "model.gguf").is_ok());
  for (const char* name : {"model", "model.gguf"}) {
    const auto summary = summarize_model(folder / name);
    ASSERT_TRUE(summary.is_ok()) << summary.status().to_string();
    EXPECT_EQ(summary->parameters, 272 * 64 + 2 * (64 * 64 * 2 + 32 * 64 * 2 + 3 * 96 * 64 + 2 * 64 + 2 * 16) + 64);
    EXPECT_EQ(summary->weight_bytes, summary->parameters * 4);
    EXPECT_EQ(summary->kv_token_bytes, 2 * 2 * 2 * 16 * 2);
    EXPECT_EQ(summary->tokenizer_tokens, 272);
    EXPECT_EQ(summary->special_tokens.bos_token, "<|endoftext|>");
    EXPECT_EQ(summary->special_tokens.eos_token, "<|im_end|>");
    ASSERT_EQ(summary->special_tokens.ends.size(), 2);
    EXPECT_EQ(summary->special_tokens.ends[0].text, "<|im_end|>");
    EXPECT_EQ(summary->special_tokens.ends[1].text, "<|endoftext|>");
    EXPECT_FALSE(summary->adds_bos);
    EXPECT_EQ(summary->chat_template_bytes, testing::kTinyChatTemplate.size());
  }
}

TEST(ModelSummary, TheTextOfTheDefaultModelHasItsFigures) {
  const std::string path = testing::smollm2_path();
  if (path.empty()) GTEST_SKIP() << testing::kSmolLm2Missing;
  const auto text = describe_model(path);
  ASSERT_TRUE(text.is_ok()) << text.status().to_string();
  EXPECT_THAT(*text, HasSubstr("format          GGUF v3, 93.8 MiB\n"));
  EXPECT_THAT(*text, HasSubstr("architecture    llama\n"));
  EXPECT_THAT(*text, HasSubstr("parameters      134.5 M\n"));
  EXPECT_THAT(*text, HasSubstr("210 of Q4_1, 63.3 MiB\n"));
  EXPECT_THAT(*text, HasSubstr("KV cache        23040 bytes per token (F16), 180.0 MiB for the whole context\n"));
  EXPECT_THAT(*text, HasSubstr("tokenizer       byte-level BPE, 49152 tokens, 48900 merges\n"));
  EXPECT_THAT(*text, HasSubstr("bos token       1 '<|im_start|>'\n"));
  EXPECT_THAT(*text,
              HasSubstr("ends an answer  2 '<|im_end|>', by tokenizer.ggml.eos_token_id, its text, the chat template\n"
                        "ends an answer  0 '<|endoftext|>', by its text\n"));
}

TEST(ModelSummary, WhatIsWrongWithAFileIsSaidInstead) {
  const testing::TemporaryFolder folder;
  std::string bytes = testing::tiny_gguf({});
  bytes.resize(bytes.size() / 2);
  ASSERT_TRUE(testing::write_file(folder / "cut.gguf", bytes).is_ok());
  const auto text = describe_model(folder / "cut.gguf");
  EXPECT_EQ(text.status().code(), Code::kCorrupt);
  EXPECT_THAT(text.status().text(), HasSubstr("cut.gguf: tensor '"));
  EXPECT_THAT(text.status().text(), HasSubstr("goes past the end of the file"));
}

}  // namespace
}  // namespace dynamo::model
