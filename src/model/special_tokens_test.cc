#include "model/special_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/testing/tiny_model.h"

namespace dynamo::model {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr const char* kText = "its text";
constexpr const char* kTemplate = "the chat template";

// Ids 0 and 1 are plain, the rest special, from 2.
text::TokenizerSpec spec_with(const std::vector<std::string>& special) {
  text::TokenizerSpec spec;
  spec.vocab = {"a", "Ġend"};
  for (const std::string& content : special) {
    spec.added.push_back({.id = static_cast<TokenId>(2 + spec.added.size()), .content = content, .is_special = true});
  }
  return spec;
}

// "id text: source, source" of each end.
std::vector<std::string> ends_of(const ModelConfig& config, const text::TokenizerSpec& spec,
                                 std::string_view chat_template = "") {
  const auto tokens = find_special_tokens(config, spec, chat_template);
  if (!tokens.is_ok()) return {tokens.status().to_string()};
  std::vector<std::string> out;
  for (const AnswerEnd& end : tokens->ends) {
    std::string line = std::to_string(end.id) + " " + end.text + ":";
    for (const std::string& source : end.sources) line += " " + source + ";";
    out.push_back(line);
  }
  return out;
}

std::string line(TokenId id, const std::string& text, const std::vector<std::string>& sources) {
  std::string out = std::to_string(id) + " " + text + ":";
  for (const std::string& source : sources) out += " " + source + ";";
  return out;
}

TEST(SpecialTokens, ThoseThatTheFilesNumberComeFirstEachOnce) {
  ModelConfig config;
  config.named_ends = {{3, "one"}, {1, "two"}, {3, "two"}, {99, "two"}};
  EXPECT_THAT(ends_of(config, spec_with({"<x>", "<y>"})),
              ElementsAre(line(3, "<y>", {"one", "two"}), line(1, " end", {"two"}), line(99, "", {"two"})));
  EXPECT_EQ(find_special_tokens(config, spec_with({"<x>", "<y>"}), "")->eos_token, "<y>");
}

TEST(SpecialTokens, TheTokenizersEosEndsAnAnswerByItsName) {
  ModelConfig config;
  config.eos_token = "<y>";
  EXPECT_THAT(ends_of(config, spec_with({"<x>", "<y>"})), ElementsAre(line(3, "<y>", {kTokenizerEos})));
  config.eos_token = " end";  // plain vocabulary, in the byte alphabet
  EXPECT_THAT(ends_of(config, spec_with({"<x>"})), ElementsAre(line(1, " end", {kTokenizerEos})));
  config.eos_token = "<none>";
  EXPECT_THAT(ends_of(config, spec_with({"<x>"})), IsEmpty());
  config.eos_token = "";
  EXPECT_THAT(ends_of(config, spec_with({"<x>"})), IsEmpty());
}

TEST(SpecialTokens, KnownEndsCountByTheirTextIfTheyAreSpecial) {
  EXPECT_THAT(
      ends_of({}, spec_with({"<|im_start|>", "<|im_end|>", "<|file_sep|>", "<|eom_id|>", "<|eot_id|>"})),
      ElementsAre(line(3, "<|im_end|>", {kText}), line(6, "<|eot_id|>", {kText}), line(5, "<|eom_id|>", {kText})));
  text::TokenizerSpec plain = spec_with({"<|im_end|>", "</s>"});
  plain.added[1].is_special = false;  // as in a vocabulary with HTML's tags
  EXPECT_THAT(ends_of({}, plain), ElementsAre(line(2, "<|im_end|>", {kText})));
}

TEST(SpecialTokens, WhereHarmonyEndsAnAnswerEndOfAMessageDoesNot) {
  constexpr std::string_view kSaysEnd = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}";
  EXPECT_THAT(ends_of({}, spec_with({"<|end|>"}), kSaysEnd), ElementsAre(line(2, "<|end|>", {kText, kTemplate})));
  EXPECT_THAT(ends_of({}, spec_with({"<|end|>", "<|return|>", "<|call|>"}), kSaysEnd),
              ElementsAre(line(3, "<|return|>", {kText}), line(4, "<|call|>", {kText})));
}

TEST(SpecialTokens, WhatTheTemplateWritesBehindAnAssistantsWordsEndsAnAnswer) {
  const text::TokenizerSpec spec = spec_with({"<user>", "<bot>", "<over>", "<over>!"});
  const auto told = [&](std::string_view chat_template) { return ends_of({}, spec, chat_template); };
  constexpr const char* kTurns =
      "{% for m in messages %}{{ '<' + ('bot' if m.role == 'assistant' else 'user') + '>' }}{{ m.content | trim }}";
  EXPECT_THAT(told(kTurns + std::string("<over>\n{% endfor %}")), ElementsAre(line(4, "<over>", {kTemplate})));
  EXPECT_THAT(told(kTurns + std::string("\n<over>{% endfor %}")), ElementsAre(line(4, "<over>", {kTemplate})));
  EXPECT_THAT(told(kTurns + std::string("<over>!{% endfor %}")), ElementsAre(line(5, "<over>!", {kTemplate})));
  EXPECT_THAT(told(kTurns + std::string("over<over>{% endfor %}")), IsEmpty());
  // Nothing but the next speaker: a model that goes on with it has answered.
  EXPECT_THAT(told(kTurns + std::string("{% endfor %}")), ElementsAre(line(2, "<user>", {kTemplate})));
  EXPECT_THAT(told("{{ messages[0].content }}<over>"), IsEmpty());  // drops what the assistant said
  EXPECT_THAT(told("{% for n in [1, 2] %}{{ messages[1].content }}<over>{% endfor %}"), IsEmpty());  // says it twice
  EXPECT_THAT(told("{{ messages[1].content | upper }}<over>"), ElementsAre(line(4, "<over>", {kTemplate})));
  EXPECT_THAT(told("{{ messages[1].content.split('x')[-1] }}<over>"), ElementsAre(line(4, "<over>", {kTemplate})));
}

TEST(SpecialTokens, TheMarkIsNoTextOfTheTemplate) {
  const text::TokenizerSpec spec = spec_with({"<user>", "<over>"});
  EXPECT_THAT(ends_of({}, spec, "\uE0D10\uE0D2<user>{{ messages[1].content }}<over>"),
              ElementsAre(line(3, "<over>", {kTemplate})));
}

TEST(SpecialTokens, TheTemplateSeesBosAndEosAsARequestsDoes) {
  ModelConfig config;
  config.eos_token = "<over>";
  config.bos_token = "<bos>";
  const text::TokenizerSpec spec = spec_with({"<over>", "<bos>"});
  const auto tokens = find_special_tokens(config, spec, "{{ bos_token }}{{ messages[1].content + eos_token }}");
  ASSERT_TRUE(tokens.is_ok()) << tokens.status().to_string();
  EXPECT_EQ(tokens->bos_id, 3);
  EXPECT_EQ(tokens->bos_token, "<bos>");
  EXPECT_EQ(tokens->eos_token, "<over>");
  ASSERT_EQ(tokens->ends.size(), 1);
  EXPECT_THAT(tokens->ends[0].sources, ElementsAre(kTokenizerEos, kTemplate));
}

TEST(SpecialTokens, ATemplateThatRefusesAUserAtTheEndIsTriedWithoutOne) {
  const text::TokenizerSpec spec = spec_with({"<over>"});
  EXPECT_THAT(ends_of({}, spec,
                      "{% if messages | length > 2 %}{{ raise_exception('two at most') }}{% endif %}"
                      "{{ messages[1].content }}<over>"),
              ElementsAre(line(2, "<over>", {kTemplate})));
  EXPECT_THAT(ends_of({}, spec, "{{ raise_exception('no') }}{{ messages[1].content }}<over>"), IsEmpty());
}

TEST(SpecialTokens, ATemplateThatIsNoneIsAnError) {
  EXPECT_EQ(find_special_tokens({}, spec_with({}), "{% if %}").status().code(), Code::kInvalid);
}

TEST(SpecialTokens, OfBosNameAndNumberTheNameCounts) {
  ModelConfig config;
  config.bos_token_id = 2;
  config.bos_token = "<y>";
  EXPECT_EQ(find_special_tokens(config, spec_with({"<x>", "<y>"}), "")->bos_id, 3);
  config.bos_token = "<none>";
  EXPECT_EQ(find_special_tokens(config, spec_with({"<x>", "<y>"}), "")->bos_id, 2);
  config.bos_token.reset();
  EXPECT_EQ(find_special_tokens(config, spec_with({"<x>", "<y>"}), "")->bos_token, "<x>");
}

}  // namespace
}  // namespace dynamo::model
