#include "model/gguf_parts.h"

#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/model_source.h"
#include "model/model_summary.h"
#include "model/testing/gguf_writer.h"
#include "model/testing/tiny_model.h"
#include "model/weight_table.h"

namespace dynamo::model {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::TinyModelSpec;

TEST(GgufPartPath, IsReadAndWrittenAlike) {
  const auto part = parse_gguf_part_path("/a-00001-of-00002/m-x-00012-of-00345.gguf");
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(part->stem, "/a-00001-of-00002/m-x");
  EXPECT_EQ(part->number, 12);
  EXPECT_EQ(part->count, 345);
  EXPECT_EQ(part->to_string(), "/a-00001-of-00002/m-x-00012-of-00345.gguf");
  for (const char* other : {"", "m.gguf", "m-00001-of-00002", "m-1-of-2.gguf", "m-00000-of-00002.gguf",
                            "m-00003-of-00002.gguf", "m00001-of-00002.gguf", "m-00001of-00002.gguf",
                            "00001-of-00002.gguf", "m--0001-of-00002.gguf", "m-00001-of-0000x.gguf"}) {
    EXPECT_FALSE(parse_gguf_part_path(other).has_value()) << other;
  }
}

// What is in memory of a file with one tensor, and with these integers as metadata.
struct SmallPart {
  std::string tensor;
  std::vector<std::pair<const char*, int64_t>> integers;
  GgufValueType type = GgufValueType::kU16;
};

Result<GgufFile> join(const std::vector<SmallPart>& small_parts) {
  static std::vector<std::string> bytes;  // the result has views into it
  bytes.clear();
  for (const SmallPart& part : small_parts) {
    testing::GgufWriter writer;
    for (const auto& [key, value] : part.integers) writer.add_integer(key, part.type, value);
    if (!part.tensor.empty()) writer.add_tensor(part.tensor, {1}, 0, "1234");
    bytes.push_back(writer.finish());
  }
  std::vector<GgufPart> parts;
  for (const std::string& one : bytes) {
    auto file = GgufFile::parse(std::as_bytes(std::span(one)));
    CHECK_OK(file);
    parts.push_back({fmt::format("part {}", parts.size() + 1), std::move(file).value()});
  }
  return join_gguf(std::move(parts));
}

std::string failure_of(const std::vector<SmallPart>& parts) {
  const auto joined = join(parts);
  return joined.is_ok() ? "no failure" : joined.status().to_string();
}

SmallPart small_part(const std::string& tensor, int64_t index, int64_t count, int64_t tensors) {
  return {tensor, {{"split.no", index}, {"split.count", count}, {"split.tensors.count", tensors}}};
}

TEST(JoinGguf, TheTensorsOfAllPartsAreThereAndTheMetadataOfTheFirst) {
  const auto joined = join({small_part("", 0, 3, 2), small_part("a", 1, 3, 2), small_part("b", 2, 3, 2)});
  ASSERT_TRUE(joined.is_ok()) << joined.status().to_string();
  EXPECT_EQ(joined->tensors().size(), 2);
  EXPECT_EQ(joined->find_tensor("b")->name, "b");
  EXPECT_EQ(joined->find_tensor("a")->data.size(), 4);
  EXPECT_EQ(joined->find_unsigned("split.no").value(), 0);
}

TEST(JoinGguf, CountsMayBeOfAnyIntegerType) {
  for (const auto type : {GgufValueType::kU8, GgufValueType::kI8, GgufValueType::kU16, GgufValueType::kI16,
                          GgufValueType::kU32, GgufValueType::kI32, GgufValueType::kU64, GgufValueType::kI64}) {
    SmallPart one = small_part("a", 0, 2, 2);
    SmallPart two = small_part("b", 1, 2, 2);
    one.type = two.type = type;
    EXPECT_EQ(failure_of({one, two}), "no failure") << static_cast<int>(type);
  }
}

TEST(JoinGguf, AFileThatWasNotSplitIsOnePart) {
  EXPECT_EQ(failure_of({{"a", {}}}), "no failure");
  EXPECT_EQ(failure_of({{"a", {{"split.count", 0}}}}), "no failure");
  EXPECT_EQ(failure_of({small_part("a", 0, 1, 1)}), "no failure");
}

TEST(JoinGguf, APartOfAnotherModelIsRefused) {
  EXPECT_THAT(failure_of({small_part("a", 0, 2, 2), small_part("b", 1, 3, 2)}),
              HasSubstr("corrupt: part 2: says that its model has 3 parts (metadata 'split.count'); expected 2"));
  EXPECT_THAT(failure_of({small_part("a", 0, 2, 2), small_part("b", 0, 2, 2)}),
              HasSubstr("part 2: says that it is part 1 of 2 (metadata 'split.no', from 0); expected part 2"));
  EXPECT_THAT(failure_of({small_part("a", 0, 2, 2), {"b", {}}}), HasSubstr("part 2: says that its model has 1 parts"));
  EXPECT_THAT(failure_of({small_part("a", 0, 2, 2), small_part("b", 1, 2, 7)}),
              HasSubstr("part 2: says that the parts of its model have 7 tensors together (metadata "
                        "'split.tensors.count'), but they have 2; they are not of one model"));
  EXPECT_THAT(failure_of({small_part("a", 0, 2, 2), small_part("a", 1, 2, 2)}),
              HasSubstr("part 2: tensor 'a' is in a part before, too; they are not of one model"));
}

TEST(JoinGguf, PlacesThatCannotBeAreRefused) {
  EXPECT_THAT(failure_of({small_part("a", 2, 2, 1)}),
              HasSubstr("metadata 'split.no' is 2, but 'split.count' 2; expected 0 to 1"));
  EXPECT_THAT(failure_of({{"a", {{"split.no", 1}}}}), HasSubstr("'split.no' is 1, but 'split.count' 1"));
  SmallPart negative = small_part("a", -1, 2, 1);
  negative.type = GgufValueType::kI32;
  EXPECT_THAT(failure_of({negative}), HasSubstr("part 1: metadata 'split.no': is -1; expected 0 or more"));
  EXPECT_THAT(failure_of({small_part("a", 0, 2, 1)}),
              HasSubstr("its model has 2 parts (metadata 'split.count'); expected 1"));
}

class GgufPartsTest : public ::testing::Test {
 protected:
  void write(uint32_t parts, bool has_empty_first = false, const TinyModelSpec& spec = {}) {
    count_ = parts;
    const auto bytes = testing::tiny_gguf_parts(spec, parts, has_empty_first);
    for (uint32_t i = 0; i < parts; ++i) ASSERT_TRUE(testing::write_file(path(i + 1), bytes[i]).is_ok());
  }
  std::string path(uint32_t number) const { return GgufPartPath{folder_ / "model", number, count_}.to_string(); }
  std::string failure(uint32_t number) const {
    const auto model = open_model(path(number));
    return model.is_ok() ? "no failure" : model.status().to_string();
  }

  testing::TemporaryFolder folder_;
  uint32_t count_ = 1;
};

std::string bytes_of(const kernels::MatrixSource& weight) {
  return {reinterpret_cast<const char*>(weight.data), weight.rows * kernels::row_bytes(weight.dtype, weight.columns)};
}

TEST_F(GgufPartsTest, AModelInPartsIsTheWholeOneWhicheverIsNamed) {
  ASSERT_TRUE(testing::write_tiny_gguf({}, folder_ / "whole.gguf").is_ok());
  const auto whole = open_model(folder_ / "whole.gguf");
  ASSERT_TRUE(whole.is_ok()) << whole.status().to_string();
  for (const bool has_empty_first : {false, true}) {
    write(3, has_empty_first);
    for (const uint32_t named : {1U, 2U, 3U}) {
      const auto model = open_model(path(named));
      ASSERT_TRUE(model.is_ok()) << model.status().to_string();
      EXPECT_EQ((*model)->stored().format, "GGUF v3, 3 parts");
      ASSERT_EQ((*model)->stored().files.size(), 3);
      EXPECT_EQ((*model)->stored().files[2].path, path(3));
      EXPECT_EQ((*model)->stored().files[2].bytes, fs::file_size(path(3)));
      EXPECT_EQ((*model)->stored().types.front().bytes, (*whole)->stored().types.front().bytes);
      EXPECT_TRUE((*model)->tokenizer().is_ok());
      for (const WeightSlot slot : weight_slots((*whole)->config())) {
        ASSERT_EQ(bytes_of((*model)->weight(slot.role, slot.layer).value()),
                  bytes_of((*whole)->weight(slot.role, slot.layer).value()))
            << gguf_weight_name((*whole)->config(), slot);
      }
    }
  }
}

TEST_F(GgufPartsTest, TheSummaryShowsAllParts) {
  write(2);
  const auto text = describe_model(path(2));
  ASSERT_TRUE(text.is_ok()) << text.status().to_string();
  EXPECT_THAT(*text, HasSubstr("format          GGUF v3, 2 parts, "));
  EXPECT_THAT(*text, HasSubstr("file            " + path(1) + ", "));
  EXPECT_THAT(*text, HasSubstr("file            " + path(2) + ", "));
}

TEST_F(GgufPartsTest, APartThatIsMissingIsNamed) {
  write(3);
  for (const uint32_t missing : {1U, 2U, 3U}) {
    const std::string aside = folder_ / "aside";
    fs::rename(path(missing), aside);
    const uint32_t named = missing % 3 + 1;
    EXPECT_EQ(failure(named),
              fmt::format("not_found: {} is part {} of 3 of a model, and all are needed: {}: there is no "
                          "such file",
                          path(named), named, path(missing)));
    fs::rename(aside, path(missing));
  }
  EXPECT_EQ(failure(1), "no failure");
}

TEST_F(GgufPartsTest, APartOfAnotherModelIsRefusedByPath) {
  TinyModelSpec deeper;
  deeper.layers = 3;
  write(2, false, deeper);
  const std::string other = folder_ / "other";
  fs::rename(path(2), other);
  write(2);
  fs::rename(other, path(2));
  EXPECT_THAT(failure(1),
              StartsWith("corrupt: " + path(1) + ": says that the parts of its model have 21 tensors together"));
  write(2);
  fs::copy_file(path(1), path(2), fs::copy_options::overwrite_existing);
  EXPECT_THAT(failure(1), StartsWith("corrupt: " + path(2) + ": says that it is part 1 of 2"));
  EXPECT_THAT(failure(2),
              StartsWith("corrupt: " + path(2) + ": its name says part 2 of 2, but its metadata part 1 of 2"));
}

TEST_F(GgufPartsTest, APartWhoseNameDoesNotLeadToTheOthersIsRefused) {
  write(2);
  fs::copy_file(path(2), folder_ / "renamed.gguf");
  EXPECT_EQ(open_model(folder_ / "renamed.gguf").status().to_string(),
            "invalid: " + (folder_ / "renamed.gguf") +
                ": is part 2 of 2 of a model, and the others are found by its name; expected NAME-00002-of-00002.gguf");
}

TEST_F(GgufPartsTest, ABrokenPartIsNamed) {
  write(2);
  ASSERT_TRUE(testing::write_file(path(2), "GGUF").is_ok());
  EXPECT_THAT(failure(1), StartsWith("corrupt: " + path(2) + ": at byte 4"));
}

}  // namespace
}  // namespace dynamo::model
