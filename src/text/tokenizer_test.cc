#include "text/tokenizer.h"

#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/testing/token_vectors.h"
#include "text/tokenizer_json.h"

namespace dynamo::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kData = DYNAMO_SOURCE_DIR "/src/text/testdata";

std::unique_ptr<Tokenizer> load(std::string_view name) {
  return load_tokenizer(kData, name).value();
}

// Letters a to e, their runs, and two added tokens.
TokenizerSpec small_spec() {
  TokenizerSpec spec;
  spec.vocab = {"a", "b", "c", "d", "e", "ab", "abc", "cd", "Ġ"};
  spec.merges = {{"a", "b"}, {"c", "d"}, {"ab", "c"}};
  spec.added = {{.id = 9, .content = "<s>", .is_special = true}, {.id = 10, .content = "<think>"}};
  spec.prefix_ids = {9};
  spec.suffix_ids = {9, 10};
  EXPECT_TRUE(set_pre_split("gpt-2", &spec).is_ok());
  return spec;
}

std::unique_ptr<Tokenizer> small_tokenizer() {
  return Tokenizer::create(small_spec()).value();
}

class Vectors : public ::testing::TestWithParam<std::string> {};

TEST_P(Vectors, OfTheTokenizersPackageHold) {
  const auto count = check_vectors(*load(GetParam()), kData, GetParam());
  ASSERT_TRUE(count.is_ok()) << count.status().to_string();
  EXPECT_EQ(*count, 2000u);
}

INSTANTIATE_TEST_SUITE_P(Styles, Vectors, ::testing::Values("gpt2", "smollm", "qwen2", "llama3", "odd"),
                         [](const auto& info) { return info.param; });

TEST(Tokenizer, ChecksAreNotVacuous) {
  const auto wrong = check_vectors(*load("gpt2"), kData, "llama3");
  ASSERT_FALSE(wrong.is_ok());
  EXPECT_EQ(wrong.status().code(), Code::kInternal);
}

TEST(Tokenizer, MergesTheBestRankFirst) {
  // "abcd": of ab (rank 0) and cd (rank 1), ab first; then cd before abc (rank 2).
  EXPECT_THAT(small_tokenizer()->encode("abcd"), ElementsAre(5, 7));
  EXPECT_THAT(small_tokenizer()->encode("abcabc"), ElementsAre(6, 6));
}

TEST(Tokenizer, LeavesOutBytesThatTheVocabularyDoesNotHave) {
  EXPECT_THAT(small_tokenizer()->encode("azb"), ElementsAre(5));
}

TEST(Tokenizer, PutsSpecialIdsAroundOnlyWhenAsked) {
  const auto tokenizer = small_tokenizer();
  EXPECT_THAT(tokenizer->encode("a"), ElementsAre(0));
  EXPECT_THAT(tokenizer->encode("a", {.adds_special = true}), ElementsAre(9, 0, 9, 10));
  EXPECT_THAT(tokenizer->encode("", {.adds_special = true}), ElementsAre(9, 9, 10));
  EXPECT_THAT(load("llama3")->encode("", {.adds_special = true}).size(), 1u);
}

TEST(Tokenizer, ReadsAddedTokensOnlyWhenAsked) {
  const auto tokenizer = small_tokenizer();
  EXPECT_THAT(tokenizer->encode("a<s>b"), ElementsAre(0, 9, 1));
  EXPECT_THAT(tokenizer->encode("a<s>b", {.parses_added = false}), ElementsAre(0, 1));
  EXPECT_THAT(tokenizer->encode("<s><s><think>"), ElementsAre(9, 9, 10));
}

TEST(Tokenizer, ReadsInvalidUtf8AsTheReplacementCharacter) {
  const auto tokenizer = load("gpt2");
  EXPECT_EQ(tokenizer->encode("a\xFF\xE2\x82z\xF0\x9F"), tokenizer->encode("a\uFFFD\uFFFDz\uFFFD"));
}

TEST(Tokenizer, DecodesWithAndWithoutSpecialTokens) {
  const auto tokenizer = small_tokenizer();
  const std::vector<TokenId> ids = {9, 5, 8, 10, 7, 4'000'000'000u};
  EXPECT_EQ(tokenizer->decode(ids, /*skip_special=*/false), "<s>ab <think>cd");
  EXPECT_EQ(tokenizer->decode(ids, /*skip_special=*/true), "ab <think>cd");
}

TEST(Tokenizer, DecodesBrokenBytesToOneReplacementForEachMaximalSubpart) {
  TokenizerSpec spec;
  // E2 82, then F0 9F 98, then ED A0 80 (a surrogate, three subparts), in the byte alphabet.
  spec.vocab = {"âĤ", "ðŁĺ", "íłĢ", "x"};
  const auto tokenizer = Tokenizer::create(std::move(spec)).value();
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{0, 3, 1}, false), "\uFFFDx\uFFFD");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{2}, false), "\uFFFD\uFFFD\uFFFD");
}

TEST(Tokenizer, KnowsItsTokens) {
  const auto tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer->vocab_size(), 11u);
  EXPECT_EQ(tokenizer->token_bytes(8), " ");
  EXPECT_EQ(tokenizer->token_bytes(10), "<think>");
  EXPECT_EQ(tokenizer->token_bytes(11), "");
  EXPECT_TRUE(tokenizer->is_special(9));
  EXPECT_FALSE(tokenizer->is_special(10));
  EXPECT_FALSE(tokenizer->is_special(4'000'000'000u));
  EXPECT_EQ(tokenizer->find_token("abc"), 6u);
  EXPECT_EQ(tokenizer->find_token("Ġ"), 8u);
  EXPECT_EQ(tokenizer->find_token("<s>"), 9u);
  EXPECT_EQ(tokenizer->find_token("zzz"), std::nullopt);
  EXPECT_EQ(tokenizer->find_token(""), std::nullopt);
}

TEST(Tokenizer, EncodesLongRunsInGoodTime) {
  // Quadratic work on any of these would take hours.
  const auto tokenizers = {load("gpt2"), load("smollm"), load("qwen2"), load("llama3"), load("odd")};
  std::string mixed;
  for (int i = 0; i < 50'000; ++i) mixed += "\n   "[i * 7919 % 4];
  std::string marks = "a";
  for (int i = 0; i < 50'000; ++i) marks += i % 2 == 0 ? "\u0301" : "\u0323";
  const std::string runs[] = {std::string(200'000, 'a'),
                              std::string(200'000, ' '),
                              std::string(200'000, '7'),
                              std::string(200'000, '\n'),
                              std::string(200'000, '<'),
                              std::string(200'000, '\''),
                              mixed + "x",
                              marks};
  for (const auto& tokenizer : tokenizers) {
    const bool keeps_text = tokenizer != *(tokenizers.end() - 1) && tokenizer != *(tokenizers.begin() + 2);
    for (const std::string& run : runs) {
      const auto ids = tokenizer->encode(run);
      EXPECT_FALSE(ids.empty());
      if (keeps_text) {
        EXPECT_EQ(tokenizer->decode(ids, false), run);
      }
    }
  }
}

TEST(Tokenizer, SwallowsLongWhiteSpaceInGoodTime) {
  TokenizerSpec spec = small_spec();
  spec.added = {{.id = 9, .content = " ", .rstrip = true}, {.id = 10, .content = "\t", .lstrip = true}};
  const auto tokenizer = Tokenizer::create(std::move(spec)).value();
  std::string text;
  for (int i = 0; i < 500'000; ++i) text += " \t";
  EXPECT_EQ(tokenizer->encode(text).size(), 1'000'000u);
  EXPECT_EQ(tokenizer->encode(std::string(1'000'000, ' ')).size(), 1'000'000u);
}

TEST(Tokenizer, TellsFromItsLengthHowManyTokensATextHasAtLeast) {
  for (const char* name : {"gpt2", "llama3", "qwen2", "smollm"}) {
    const auto tokenizer = load(name);
    size_t bound = 0;
    for (const char* text :
         {"", "a", "the the the", "        ", "Ünïcödé", "<|endoftext|><|endoftext|>", "\u1112\u1161\u11AB"}) {
      std::string many;
      for (int i = 0; i < 100; ++i) many += text;
      EXPECT_LE(tokenizer->least_tokens(many.size()), tokenizer->encode(many).size()) << name << ": " << text;
      bound = std::max(bound, tokenizer->least_tokens(many.size()));
    }
    EXPECT_GT(bound, 0U) << name;
  }
  EXPECT_EQ(small_tokenizer()->least_tokens(1000), 0U);  // it lacks bytes
}

TEST(Tokenizer, EncodesTheSameOnManyThreads) {
  const auto tokenizer = load("qwen2");
  const std::string text = read_text_file(kData + "/texts.jsonl").value();
  const auto expected = tokenizer->encode(text);
  std::vector<std::vector<TokenId>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&] { result = tokenizer->encode(text); });
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

Status create_status(const TokenizerSpec& spec) {
  return Tokenizer::create(spec).status();
}

TEST(Tokenizer, RefusesMergesOfUnknownTokens) {
  TokenizerSpec spec = small_spec();
  spec.merges.push_back({"d", "e"});
  EXPECT_EQ(create_status(spec).code(), Code::kInvalid);
  EXPECT_THAT(create_status(spec).text(), HasSubstr(R"(merge 3 ("d" "e"): "de" is not in the vocabulary)"));
}

TEST(Tokenizer, RefusesIdsUsedTwiceOrTooLarge) {
  TokenizerSpec twice = small_spec();
  twice.added.push_back({.id = 9, .content = "<t>"});
  EXPECT_THAT(create_status(twice).text(), HasSubstr("\"<s>\" has that id too"));
  TokenizerSpec of_vocabulary = small_spec();
  of_vocabulary.added.push_back({.id = 3, .content = "<t>"});
  EXPECT_THAT(create_status(of_vocabulary).text(), HasSubstr("\"d\" has that id too"));
  TokenizerSpec two_ids = small_spec();
  two_ids.added.push_back({.id = 30, .content = "abc"});
  EXPECT_THAT(create_status(two_ids).text(), HasSubstr("it has id 6 too"));
  TokenizerSpec large = small_spec();
  large.added.push_back({.id = 1u << 24, .content = "<t>"});
  EXPECT_THAT(create_status(large).text(), HasSubstr("an id must be below 16777216"));
  TokenizerSpec suffix = small_spec();
  suffix.suffix_ids = {11};
  EXPECT_THAT(create_status(suffix).text(), HasSubstr("id 11"));
}

TEST(Tokenizer, RefusesPatternsThatDoNotCompile) {
  TokenizerSpec spec = small_spec();
  spec.split_patterns = {"(a"};
  EXPECT_EQ(create_status(spec).code(), Code::kInvalid);
  EXPECT_THAT(create_status(spec).text(), HasSubstr("does not compile"));
}

TEST(Tokenizer, EqualsQwen3sVectorsWhereItsDataIs) {
  const char* named = std::getenv("DYNAMO_QWEN3_TOKENIZER");
  const std::string folder = named != nullptr ? named : DYNAMO_SOURCE_DIR "/../shared/data/qwen3-tokenizer";
  const auto tokenizer = load_tokenizer(folder, "tokenizer");
  if (tokenizer.status().code() == Code::kNotFound) GTEST_SKIP() << tokenizer.status().text() << " is not there";
  ASSERT_TRUE(tokenizer.is_ok()) << tokenizer.status().to_string();
  const auto count = check_vectors(**tokenizer, kData, "qwen3");
  EXPECT_TRUE(count.is_ok()) << count.status().to_string();
}

}  // namespace
}  // namespace dynamo::text
