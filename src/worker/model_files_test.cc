#include "worker/model_files.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/check.h"
#include "model/testing/tiny_model.h"

namespace dynamo::worker {
namespace {

namespace fs = std::filesystem;

std::string digest_at(const std::string& path) {
  auto files = open_model_files(path, "");
  CHECK_OK(files);
  auto digest = weights_digest(*files);
  CHECK_OK(digest);
  return *digest;
}

TEST(WeightsDigest, IsOfTheModelAndNotOfWhereItLies) {
  const model::testing::TemporaryFolder folder;
  const std::string one = folder.path() + "/one";
  const std::string other = folder.path() + "/other";
  for (const std::string& path : {one, other}) ASSERT_TRUE(model::testing::write_tiny_hf_folder({}, path).is_ok());
  EXPECT_EQ(digest_at(one), digest_at(other));
}

TEST(WeightsDigest, AModelWithOneOtherWeightIsAnotherOne) {
  const model::testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/model";
  ASSERT_TRUE(model::testing::write_tiny_hf_folder({}, path).is_ok());
  const std::string before = digest_at(path);
  const std::string file = path + "/model.safetensors";
  std::stringstream bytes;
  bytes << std::ifstream(file, std::ios::binary).rdbuf();
  std::string tuned = bytes.str();
  for (size_t at = tuned.size() - 512; at < tuned.size(); ++at) tuned[at] = static_cast<char>(tuned[at] ^ 1);
  std::ofstream(file, std::ios::binary) << tuned;
  EXPECT_EQ(fs::file_size(file), tuned.size());
  EXPECT_NE(digest_at(path), before);
}

TEST(WeightsDigest, OfAModelInPartsIsThatOfTheWholeOne) {
  const model::testing::TemporaryFolder folder;
  ASSERT_TRUE(model::testing::write_tiny_gguf({}, folder / "whole.gguf").is_ok());
  const auto parts = model::testing::tiny_gguf_parts({}, 2);
  ASSERT_TRUE(model::testing::write_file(folder / "tiny-00001-of-00002.gguf", parts[0]).is_ok());
  ASSERT_TRUE(model::testing::write_file(folder / "tiny-00002-of-00002.gguf", parts[1]).is_ok());
  EXPECT_EQ(digest_at(folder / "tiny-00002-of-00002.gguf"), digest_at(folder / "whole.gguf"));
}

TEST(ModelFiles, AModelInPartsIsServedUnderOneNameWhicheverIsNamed) {
  const model::testing::TemporaryFolder folder;
  const auto parts = model::testing::tiny_gguf_parts({}, 2);
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string path = folder / fmt::format("tiny-0000{}-of-00002.gguf", i + 1);
    ASSERT_TRUE(model::testing::write_file(path, parts[i]).is_ok());
  }
  EXPECT_EQ(open_model_files(folder / "tiny-00001-of-00002.gguf", "")->card.name, "tiny");
  EXPECT_EQ(open_model_files(folder / "tiny-00002-of-00002.gguf", "")->card.name, "tiny");
}

TEST(ModelFiles, TheCardHasEveryEndOfAnAnswer) {
  const model::testing::TemporaryFolder folder;
  const std::string path = folder / "model";
  ASSERT_TRUE(model::testing::write_tiny_hf_folder({}, path).is_ok());
  for (const char* name : {"generation_config.json", "config.json"}) {
    std::stringstream read;
    read << std::ifstream(path + "/" + name).rdbuf();
    std::string json = read.str();
    constexpr std::string_view kEos = "\"eos_token_id\":258";
    ASSERT_NE(json.find(kEos), std::string::npos);
    json.replace(json.find(kEos), kEos.size(), "\"eos_token_id\":260");
    ASSERT_TRUE(model::testing::write_file(path + "/" + name, json).is_ok());
  }
  const auto files = open_model_files(path, "");
  ASSERT_TRUE(files.is_ok()) << files.status().to_string();
  EXPECT_EQ(files->card.eos_token_ids, (std::vector<TokenId>{260, 258, 256}));
  EXPECT_EQ(files->card.eos_token, "<|im_end|>");  // as transformers shows it to templates: by name
  EXPECT_EQ(files->card.bos_token, "<|endoftext|>");
}

}  // namespace
}  // namespace dynamo::worker
