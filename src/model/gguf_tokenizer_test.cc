#include "model/gguf_tokenizer.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/mapped_file.h"
#include "model/testing/gguf_writer.h"
#include "model/testing/smollm2.h"
#include "model/tokenizer_check.h"
#include "text/testing/token_vectors.h"
#include "text/tokenizer.h"

namespace dynamo::model {
namespace {

using testing::GgufWriter;
using ::testing::HasSubstr;

const std::vector<std::string> kTokens = {"a", "b", "ab", "<|end|>", "<tool>", "gone"};
const std::vector<int32_t> kTypes = {1, 1, 1, 3, 4, 5};
const std::vector<std::string> kMerges = {"a b"};

struct Parts {
  std::string model = "gpt2";
  std::string pre = "gpt-2";
  std::vector<std::string> tokens = kTokens;
  std::vector<int32_t> types = kTypes;
  std::vector<std::string> merges = kMerges;
  std::function<void(GgufWriter*)> more = [](GgufWriter*) {};
};

Result<text::TokenizerSpec> read(const Parts& parts) {
  GgufWriter writer;
  writer.add_string("tokenizer.ggml.model", parts.model);
  writer.add_string("tokenizer.ggml.pre", parts.pre);
  writer.add_strings("tokenizer.ggml.tokens", parts.tokens);
  writer.add_i32s("tokenizer.ggml.token_type", parts.types);
  writer.add_strings("tokenizer.ggml.merges", parts.merges);
  parts.more(&writer);
  const std::string bytes = writer.finish();
  const auto file = GgufFile::parse(std::as_bytes(std::span(bytes)));
  CHECK_OK(file);
  return gguf_tokenizer(*file);
}

TEST(GgufTokenizer, TheDefaultModelsTokenizerEqualsTheTokenizersPackage) {
  const std::string path = testing::smollm2_path();
  if (path.empty()) GTEST_SKIP() << testing::kSmolLm2Missing;
  const auto mapped = MappedFile::open(path);
  CHECK_OK(mapped);
  const auto file = GgufFile::parse(mapped->bytes());
  CHECK_OK(file);
  auto spec = gguf_tokenizer(*file);
  CHECK_OK(spec);
  const auto tokenizer = text::Tokenizer::create(std::move(spec).value());
  CHECK_OK(tokenizer);
  const auto checked = text::check_vectors(**tokenizer, DYNAMO_SOURCE_DIR "/src/text/testdata", "smollm2");
  ASSERT_TRUE(checked.is_ok()) << checked.status().to_string();
  EXPECT_GE(*checked, 300U);
}

TEST(GgufTokenizer, TypesTellSpecialUserDefinedAndUnusedTokensApart) {
  const auto spec = read({});
  ASSERT_TRUE(spec.is_ok()) << spec.status().to_string();
  EXPECT_EQ(spec->vocab, (std::vector<std::string>{"a", "b", "ab", "", "", ""}));
  ASSERT_EQ(spec->added.size(), 2);
  EXPECT_EQ(spec->added[0].id, 3);
  EXPECT_EQ(spec->added[0].content, "<|end|>");
  EXPECT_TRUE(spec->added[0].is_special);
  EXPECT_EQ(spec->added[1].content, "<tool>");
  EXPECT_FALSE(spec->added[1].is_special);
  EXPECT_EQ(spec->merges, (std::vector<std::pair<std::string, std::string>>{{"a", "b"}}));
  EXPECT_TRUE(spec->prefix_ids.empty());
}

TEST(GgufTokenizer, ABosIsPutInFrontIfTheFileSaysSoOrIsOfLlama3) {
  const auto with_bos = [](GgufWriter* writer) { writer->add_u32("tokenizer.ggml.bos_token_id", 3); };
  const auto asks = [&](GgufWriter* writer) {
    with_bos(writer);
    writer->add_bool("tokenizer.ggml.add_bos_token", true);
  };
  const auto declines = [&](GgufWriter* writer) {
    with_bos(writer);
    writer->add_bool("tokenizer.ggml.add_bos_token", false);
  };
  const std::vector<TokenId> kBos = {3};
  EXPECT_EQ(read({.more = asks}).value().prefix_ids, kBos);
  EXPECT_TRUE(read({.more = with_bos}).value().prefix_ids.empty());
  EXPECT_EQ(read({.pre = "llama-bpe", .more = with_bos}).value().prefix_ids, kBos);
  EXPECT_TRUE(read({.pre = "llama-bpe", .more = declines}).value().prefix_ids.empty());
  const auto no_id = [](GgufWriter* writer) { writer->add_bool("tokenizer.ggml.add_bos_token", true); };
  EXPECT_THAT(read({.more = no_id}).status().text(), HasSubstr("'tokenizer.ggml.bos_token_id' is missing"));
}

TEST(GgufTokenizer, OtherNamesOfAKnownSplitAreReadAsIt) {
  const std::pair<const char*, const char*> rows[] = {
      {"deepseek-r1-qwen", "qwen2"}, {"starcoder", "smollm"}, {"refact", "smollm"}, {"llama-v3", "llama-bpe"}};
  for (const auto& [other, known] : rows) {
    const auto with_bos = [](GgufWriter* writer) { writer->add_u32("tokenizer.ggml.bos_token_id", 3); };
    const auto spec = read({.pre = other, .more = with_bos});
    ASSERT_TRUE(spec.is_ok()) << spec.status().to_string();
    const auto same = read({.pre = known, .more = with_bos});
    EXPECT_EQ(spec->split_patterns, same->split_patterns) << other;
    EXPECT_EQ(spec->splits_digits, same->splits_digits) << other;
    EXPECT_EQ(spec->normalizes_nfc, same->normalizes_nfc) << other;
    EXPECT_EQ(spec->prefix_ids, same->prefix_ids) << other;
  }
}

TEST(GgufTokenizer, OtherFamiliesAreRefusedByName) {
  EXPECT_THAT(read({.model = "llama"}).status().to_string(),
              HasSubstr("unsupported: metadata 'tokenizer.ggml.model' is 'llama'"));
  const Status pre = read({.pre = "tekken"}).status();
  EXPECT_EQ(pre.code(), Code::kUnsupported);
  EXPECT_THAT(pre.text(), HasSubstr("metadata 'tokenizer.ggml.pre' 'tekken'"));
}

TEST(GgufTokenizer, WrongTablesAreRefused) {
  EXPECT_THAT(read({.types = {1}}).status().text(), HasSubstr("has 1 entries for 6 tokens"));
  for (const std::string merge : {"ab", "a ", " b", ""}) {
    EXPECT_THAT(read({.merges = {"a b", merge}}).status().text(),
                HasSubstr("entry 1, '" + merge + "', is not two parts"));
  }
}

TEST(TokenizerCheck, TokensWithoutARowInTheEmbeddingAreRefused) {
  ModelConfig config;
  config.vocab_size = 4;
  text::TokenizerSpec spec;
  spec.vocab.resize(4);
  EXPECT_TRUE(check_tokenizer(spec, config).is_ok());
  spec.vocab.resize(5);
  EXPECT_EQ(check_tokenizer(spec, config).to_string(), "corrupt: the tokenizer has 5 tokens, but the embedding 4 rows");
  spec.vocab.resize(4);
  spec.added.push_back({.id = 4, .content = "<x>"});
  EXPECT_THAT(check_tokenizer(spec, config).text(), HasSubstr("token '<x>' is number 4"));
  spec.added.clear();
  spec.prefix_ids = {9};
  EXPECT_THAT(check_tokenizer(spec, config).text(), HasSubstr("puts token 9 around a text"));
}

}  // namespace
}  // namespace dynamo::model
