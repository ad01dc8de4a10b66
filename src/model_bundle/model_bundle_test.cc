#include "model_bundle/model_bundle.h"

#include <gtest/gtest.h>

#include <limits>

#include "text/testing/token_vectors.h"
#include "text/tokenizer_json.h"

namespace dynamo::model_bundle {
namespace {

const std::string kFolder = DYNAMO_SOURCE_DIR "/src/text/testdata";

Parts parts_of(const std::string& name) {
  const auto json = text::read_text_file(kFolder + "/" + name + ".json");
  CHECK_OK(json);
  auto spec = text::tokenizer_spec_from_json(*json);
  CHECK_OK(spec);
  Parts parts;
  parts.card.architecture = "llama";
  parts.card.dtype = "Q4_1";
  parts.card.context_length = 8192;
  parts.card.vocab_size = 1000;
  parts.card.eos_token_ids = {2, 5};
  parts.card.bos_token_id = 1;
  parts.card.eos_token = "<|im_end|>";
  parts.card.default_temperature = 0.6F;
  parts.tokenizer = std::move(spec).value();
  parts.chat_template = "{{ messages }}";
  return parts;
}

class Bundles : public testing::TestWithParam<std::string> {};

TEST_P(Bundles, ATokenizerThatTravelledTokenizesAsBefore) {
  const std::string bytes = to_bytes(parts_of(GetParam()));
  auto back = from_bytes(bytes, digest_of(bytes));
  ASSERT_TRUE(back.is_ok()) << back.status().to_string();
  EXPECT_EQ(to_bytes(*back), bytes);
  EXPECT_EQ(back->card.eos_token_ids, (std::vector<TokenId>{2, 5}));
  EXPECT_EQ(back->card.default_temperature, 0.6F);
  EXPECT_FALSE(back->card.default_top_k);
  EXPECT_EQ(back->chat_template, "{{ messages }}");
  const auto tokenizer = text::Tokenizer::create(std::move(back->tokenizer));
  ASSERT_TRUE(tokenizer.is_ok());
  const auto checked = text::check_vectors(**tokenizer, kFolder, GetParam());
  EXPECT_TRUE(checked.is_ok()) << checked.status().to_string();
}

INSTANTIATE_TEST_SUITE_P(All, Bundles, testing::Values("gpt2", "llama3", "qwen2", "smollm", "odd"));

TEST(Bundle, ADigestIsSha256AndAnyChangeIsCorrupt) {
  EXPECT_EQ(digest_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  std::string bytes = to_bytes(parts_of("gpt2"));
  const std::string digest = digest_of(bytes);
  bytes[bytes.size() / 2] ^= 1;
  EXPECT_EQ(from_bytes(bytes, digest).status().code(), Code::kCorrupt);
  EXPECT_EQ(from_bytes("\xFF", digest_of("\xFF")).status().code(), Code::kCorrupt);
}

TEST(Bundle, AdviceThatIsNoNumberIsCorruptAndOtherAdviceIsWithinLimits) {
  Parts parts = parts_of("gpt2");
  parts.card.default_top_k = -1;
  parts.card.default_top_p = 0;
  parts.card.default_temperature = 500;
  std::string bytes = to_bytes(parts);
  EXPECT_TRUE(from_bytes(bytes, digest_of(bytes)).is_ok());
  parts.card.default_top_p = std::numeric_limits<float>::quiet_NaN();
  bytes = to_bytes(parts);
  const Status status = from_bytes(bytes, digest_of(bytes)).status();
  EXPECT_EQ(status.code(), Code::kCorrupt);
  EXPECT_NE(status.text().find("default top_p is nan"), std::string::npos) << status.text();
}

}  // namespace
}  // namespace dynamo::model_bundle
