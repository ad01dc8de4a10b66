#include "text/tokenizer_json.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "text/pre_split.h"
#include "text/tokenizer.h"

namespace dynamo::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A small, right document; `changes` are "path=JSON" and replace or remove (with no JSON) what is at the path.
std::string document(const std::vector<std::pair<std::string, std::string>>& changes = {}) {
  boost::json::value root = boost::json::parse(R"({
    "added_tokens": [{"id": 5, "content": "<s>", "special": true, "lstrip": true, "rstrip": false}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": null,
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġa": 4}, "merges": ["a b", ["Ġ", "a"]]}
  })");
  for (const auto& [path, json] : changes) {
    const size_t slash = path.rfind('/');
    auto& parent = root.at_pointer(path.substr(0, slash)).as_object();
    if (json.empty()) {
      parent.erase(path.substr(slash + 1));
    } else {
      parent[path.substr(slash + 1)] = boost::json::parse(json);
    }
  }
  return boost::json::serialize(root);
}

TokenizerSpec spec_of(const std::vector<std::pair<std::string, std::string>>& changes) {
  return tokenizer_spec_from_json(document(changes)).value();
}

TEST(TokenizerJson, ReadsModelAndAddedTokens) {
  const TokenizerSpec spec = spec_of({});
  EXPECT_THAT(spec.vocab, ElementsAre("a", "b", "ab", "Ġ", "Ġa"));
  EXPECT_THAT(spec.merges, ElementsAre(std::pair("a", "b"), std::pair("Ġ", "a")));
  ASSERT_EQ(spec.added.size(), 1u);
  EXPECT_EQ(spec.added[0].content, "<s>");
  EXPECT_TRUE(spec.added[0].is_special && spec.added[0].lstrip);
  EXPECT_FALSE(spec.added[0].rstrip || spec.added[0].single_word || spec.added[0].normalized);
  EXPECT_THAT(spec.split_patterns, ElementsAre(kGpt2Pattern));
  EXPECT_FALSE(spec.normalizes_nfc || spec.splits_digits || spec.ignores_merges || spec.adds_prefix_space);
}

TEST(TokenizerJson, ReadsNormalizers) {
  EXPECT_TRUE(spec_of({{"/normalizer", R"({"type": "NFC"})"}}).normalizes_nfc);
  EXPECT_TRUE(spec_of({{"/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "NFC"}]})"}}).normalizes_nfc);
  EXPECT_FALSE(spec_of({{"/normalizer", R"({"type": "Sequence", "normalizers": []})"}}).normalizes_nfc);
}

TEST(TokenizerJson, ReadsPreTokenizers) {
  const std::string bytes = R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})";
  const auto sequence = [&](const std::string& parts) {
    return spec_of({{"/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [)" + parts + "," + bytes + "]}"}});
  };
  const std::string digits = R"({"type": "Digits", "individual_digits": true})";
  const std::string split = R"({"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated", "invert": false})";
  EXPECT_TRUE(sequence(digits).splits_digits);
  EXPECT_THAT(sequence(digits + "," + split).split_patterns, ElementsAre("x+"));
  EXPECT_THAT(sequence(split + "," + digits).split_patterns, ElementsAre("x+", "\\p{N}"));
  EXPECT_THAT(sequence(R"({"type": "Digits", "individual_digits": false})").split_patterns, ElementsAre("\\p{N}+"));
  EXPECT_THAT(sequence(R"({"type": "Split", "pattern": {"String": "a.b"}, "behavior": "Isolated"})").split_patterns,
              ElementsAre("a\\.b"));
  EXPECT_TRUE(spec_of({{"/pre_tokenizer", R"({"type": "ByteLevel", "add_prefix_space": true})"}}).adds_prefix_space);
}

TEST(TokenizerJson, ReadsPostProcessors) {
  const std::string processor = R"({"type": "Sequence", "processors": [{"type": "ByteLevel"},
    {"type": "TemplateProcessing", "pair": [],
     "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}],
     "special_tokens": {"<s>": {"ids": [5]}, "</s>": {"ids": [2, 3]}}}]})";
  const TokenizerSpec spec = spec_of({{"/post_processor", processor}});
  EXPECT_THAT(spec.prefix_ids, ElementsAre(5));
  EXPECT_THAT(spec.suffix_ids, ElementsAre(2, 3));
}

struct Wrong {
  std::string path;
  std::string json;
  Code code;
  std::string complaint;
};

TEST(TokenizerJson, SaysWhatIsWrongAndWhere) {
  const std::string split = R"("type": "Split", "pattern": {"Regex": "x"}, "behavior")";
  const Wrong cases[] = {
      {"/model", "", Code::kInvalid, "model: missing, wanted an object"},
      {"/model", "7", Code::kInvalid, "model: wanted an object, found int64"},
      {"/model/type", R"("Unigram")", Code::kUnsupported, "model: Unigram"},
      {"/model/vocab", "[]", Code::kInvalid, "model.vocab: wanted an object"},
      {"/model/vocab/ab", "-2", Code::kInvalid, R"(model.vocab["ab"]: wanted a token id)"},
      {"/model/vocab/ab", "1", Code::kInvalid, "id 1 is also that of"},
      {"/model/vocab/ab", "4294967296", Code::kInvalid, R"(model.vocab["ab"]: id 4294967296 is far beyond)"},
      {"/model/vocab/ab", "9000000", Code::kInvalid, R"(model.vocab["ab"]: id 9000000 is far beyond)"},
      {"/model/vocab/ab", "1e30", Code::kInvalid, R"(model.vocab["ab"]: wanted a token id)"},
      {"/model/vocab/", "8", Code::kInvalid, "an empty token"},
      {"/model/merges", "{}", Code::kInvalid, "model.merges: wanted an array"},
      {"/model/merges", R"(["ab"])", Code::kInvalid, "model.merges[0]: a merge is"},
      {"/model/merges", R"([["a","b"],["a"]])", Code::kInvalid, "model.merges[1]: a merge is"},
      {"/model/merges", R"(["a b c"])", Code::kInvalid, "model.merges[0]: a merge is"},
      {"/model/dropout", "0.5", Code::kUnsupported, "dropout"},
      {"/model/end_of_word_suffix", R"("</w>")", Code::kUnsupported, "end_of_word_suffix"},
      {"/model/unk_token", R"("<unk>")", Code::kUnsupported, "model.unk_token"},
      {"/model/ignore_merges", "1", Code::kInvalid, "model.ignore_merges: wanted true or false"},
      {"/added_tokens", "{}", Code::kInvalid, "added_tokens: wanted an array"},
      {"/added_tokens", R"([{"content": "x"}])", Code::kInvalid, "added_tokens[0].id: missing"},
      {"/added_tokens", R"([{"id": 9}])", Code::kInvalid, "added_tokens[0].content: missing"},
      {"/added_tokens", R"([{"id": 4294967295, "content": "x"}])", Code::kInvalid, "added_tokens[0].id: id 4294967295"},
      {"/added_tokens", R"([{"id": 900000, "content": "x"}])", Code::kInvalid, "added_tokens[0].id: 900000 is far"},
      {"/added_tokens", R"([{"id": 9, "content": "x", "special": 1}])", Code::kInvalid, "added_tokens[0].special"},
      {"/normalizer", R"({"type": "Lowercase"})", Code::kUnsupported, "normalizer: Lowercase"},
      {"/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Strip"}]})",
       Code::kUnsupported, "normalizer.normalizers[1]: Strip"},
      {"/normalizer", R"({"type": "Sequence"})", Code::kInvalid, "normalizer.normalizers: missing"},
      {"/pre_tokenizer", "null", Code::kUnsupported, "pre_tokenizer: no ByteLevel"},
      {"/pre_tokenizer", R"({"type": "Metaspace"})", Code::kUnsupported, "pre_tokenizer: Metaspace"},
      {"/pre_tokenizer", "{" + split + R"(: "Removed"})", Code::kUnsupported, "pre_tokenizer.behavior: Removed"},
      {"/pre_tokenizer", "{" + split + ": 3}", Code::kInvalid, "pre_tokenizer.behavior: wanted a string"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": 1})", Code::kInvalid, "pre_tokenizer.pattern.String: missing"},
      {"/post_processor", R"({"type": "BertProcessing"})", Code::kUnsupported, "post_processor: BertProcessing"},
      {"/post_processor", R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}]})",
       Code::kInvalid, "post_processor.special_tokens.x.ids: missing"},
      {"/post_processor", R"({"type": "TemplateProcessing", "single": []})", Code::kUnsupported, "without the text"},
      {"/decoder", "null", Code::kUnsupported, "decoder: no ByteLevel"},
      {"/decoder", R"({"type": "WordPiece"})", Code::kUnsupported, "decoder: WordPiece"},
  };
  for (const Wrong& wrong : cases) {
    const auto spec = tokenizer_spec_from_json(document({{wrong.path, wrong.json}}));
    EXPECT_EQ(spec.status().code(), wrong.code) << wrong.path << " = " << wrong.json;
    EXPECT_THAT(spec.status().text(), HasSubstr(wrong.complaint)) << wrong.path << " = " << wrong.json;
  }
}

TEST(TokenizerJson, RefusesWhatIsNoJson) {
  for (const std::string& text : {std::string(), std::string("{"), std::string("{} {}"), std::string("\xFF"),
                                  std::string(100'000, '['), document().substr(0, 100)}) {
    EXPECT_EQ(tokenizer_spec_from_json(text).status().code(), Code::kInvalid);
  }
  EXPECT_THAT(tokenizer_spec_from_json("[]").status().text(), HasSubstr("the document: wanted an object"));
}

TEST(TokenizerJson, RefusesSequencesNestedWithoutEnd) {
  std::string nested = R"({"type": "NFC"})";
  for (int i = 0; i < 20; ++i) nested = R"({"type": "Sequence", "normalizers": [)" + nested + "]}";
  EXPECT_EQ(tokenizer_spec_from_json(document().replace(0, 1, R"({"normalizer": )" + nested + ",")).status().code(),
            Code::kInvalid);
}

TEST(PreSplitFamilies, AreKnownByTheirGgufNames) {
  TokenizerSpec spec;
  ASSERT_TRUE(set_pre_split("smollm", &spec).is_ok());
  EXPECT_TRUE(spec.splits_digits);
  EXPECT_THAT(spec.split_patterns, ElementsAre(kGpt2Pattern));
  ASSERT_TRUE(set_pre_split("qwen2", &spec).is_ok());
  EXPECT_TRUE(spec.normalizes_nfc);
  EXPECT_FALSE(spec.splits_digits);
  EXPECT_THAT(spec.split_patterns, ElementsAre(kQwen2Pattern));
  ASSERT_TRUE(set_pre_split("llama-bpe", &spec).is_ok());
  EXPECT_TRUE(spec.ignores_merges);
  EXPECT_FALSE(spec.normalizes_nfc);
  EXPECT_THAT(spec.split_patterns, ElementsAre(kLlama3Pattern));
  ASSERT_TRUE(set_pre_split("gpt-2", &spec).is_ok());
  EXPECT_FALSE(spec.ignores_merges);
  const Status unknown = set_pre_split("tekken", &spec);
  EXPECT_EQ(unknown.code(), Code::kUnsupported);
  EXPECT_THAT(unknown.text(), HasSubstr("tekken"));
}

}  // namespace
}  // namespace dynamo::text
