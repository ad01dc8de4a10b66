#include "model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/testing/gguf_writer.h"
#include "model/testing/safetensors_writer.h"

namespace dynamo::model {
namespace {

using ::testing::HasSubstr;
using testing::safetensors_file;

std::string failure_of(const std::string& file) {
  const auto parsed = parse_safetensors(std::as_bytes(std::span(file)));
  return parsed.is_ok() ? "no failure" : parsed.status().to_string();
}

// One tensor "t" with these fields, over 16 bytes of data.
std::string failure_with(const std::string& fields) {
  return failure_of(safetensors_file(R"({"t":{)" + fields + "}}", std::string(16, 'd')));
}

TEST(Safetensors, ReadsBackWhatWasWritten) {
  testing::SafetensorsWriter writer;
  writer.add("b", "BF16", {2, 3}, "bbbbbbbbbbbb");
  writer.add("a", "F32", {1}, "aaaa");
  writer.add("none", "I64", {0}, "");
  const std::string file = writer.finish();
  const auto table = parse_safetensors(std::as_bytes(std::span(file)));
  ASSERT_TRUE(table.is_ok()) << table.status().to_string();
  ASSERT_EQ(table->size(), 3);
  const SafetensorsTensor& b = table->find("b")->second;
  EXPECT_EQ(b.type, "BF16");
  EXPECT_EQ(b.dtype, kernels::DType::kBF16);
  EXPECT_EQ(b.shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(b.data.size(), 12);
  EXPECT_EQ(b.data[0], std::byte{'b'});
  EXPECT_EQ(table->find("none")->second.dtype, std::nullopt);
}

TEST(Safetensors, EveryTruncationIsRefused) {
  testing::SafetensorsWriter writer;
  writer.add("b", "BF16", {2, 3}, "bbbbbbbbbbbb");
  const std::string file = writer.finish();
  for (size_t size = 0; size < file.size(); ++size) ASSERT_NE(failure_of(file.substr(0, size)), "no failure") << size;
}

TEST(Safetensors, AHostileHeaderIsRefused) {
  std::string huge;
  testing::put_u64(&huge, UINT64_MAX);
  EXPECT_THAT(failure_of(huge), HasSubstr("a header of 18446744073709551615 bytes; expected at most 100000000"));
  std::string past;
  testing::put_u64(&past, 5000);
  EXPECT_THAT(failure_of(past + "{}"), HasSubstr("the header needs 5000 bytes, but the file ends after 2"));
  EXPECT_THAT(failure_of(safetensors_file("{", "")), HasSubstr("the header: at byte"));
  EXPECT_THAT(failure_of(safetensors_file("[]", "")), HasSubstr("expected an object"));
  EXPECT_THAT(failure_of(safetensors_file(std::string(100000, '['), "")), HasSubstr("not valid JSON"));
  EXPECT_EQ(failure_of(safetensors_file(R"({"__metadata__":{"format":"pt"}})", "")), "no failure");
}

TEST(Safetensors, AWrongEntryIsRefusedByName) {
  EXPECT_EQ(failure_with(R"("dtype":"F32","shape":[4],"data_offsets":[0,16])"), "no failure");
  EXPECT_EQ(failure_of(safetensors_file(R"({"t":1})", "")), "corrupt: tensor 't': its entry is not an object");
  EXPECT_THAT(failure_with(R"("shape":[4],"data_offsets":[0,16])"), HasSubstr("tensor 't': field 'dtype' is missing"));
  EXPECT_THAT(failure_with(R"("dtype":"Q4","shape":[4],"data_offsets":[0,16])"),
              HasSubstr("unsupported: tensor 't': its type 'Q4' is not known"));
  EXPECT_THAT(failure_with(R"("dtype":"F32","data_offsets":[0,16])"),
              HasSubstr("field 'shape' is missing or no array"));
  EXPECT_THAT(failure_with(R"("dtype":"F32","shape":[-4],"data_offsets":[0,16])"),
              HasSubstr("a dimension is not an integer"));
  EXPECT_THAT(failure_with(R"("dtype":"F32","shape":[4.0],"data_offsets":[0,16])"),
              HasSubstr("a dimension is not an integer"));
  EXPECT_THAT(failure_with(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16])"),
              HasSubstr("more than 2^64 bytes"));
  EXPECT_THAT(failure_with(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,4],"data_offsets":[0,16])"),
              HasSubstr("9 dimensions"));
  EXPECT_THAT(failure_with(R"("dtype":"F32","shape":[4],"data_offsets":[0])"), HasSubstr("has not two entries"));
}

TEST(Safetensors, RangesMustCoverTheDataExactly) {
  EXPECT_THAT(failure_with(R"("dtype":"F32","shape":[4],"data_offsets":[16,0])"),
              HasSubstr("is not within the file's 16 bytes"));
  EXPECT_THAT(failure_with(R"("dtype":"F32","shape":[5],"data_offsets":[0,20])"),
              HasSubstr("is not within the file's 16 bytes"));
  EXPECT_THAT(failure_with(R"("dtype":"F32","shape":[3],"data_offsets":[0,16])"),
              HasSubstr("its data has 16 bytes; its type and shape need 12"));
  EXPECT_THAT(failure_with(R"("dtype":"F32","shape":[3],"data_offsets":[0,12])"), HasSubstr("end at byte 12 of 16"));
  EXPECT_THAT(failure_with(R"("dtype":"F32","shape":[3],"data_offsets":[4,16])"),
              HasSubstr("starts at byte 4; expected 0"));
  const std::string overlap = R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
                              R"("b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})";
  EXPECT_THAT(failure_of(safetensors_file(overlap, std::string(16, 'd'))),
              HasSubstr("tensor 'b': its data starts at byte 8; expected 12"));
}

}  // namespace
}  // namespace dynamo::model
