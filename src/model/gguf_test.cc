#include "model/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/testing/gguf_writer.h"

namespace dynamo::model {
namespace {

using testing::GgufWriter;
using ::testing::HasSubstr;
using testing::put_string;
using testing::put_u32;
using testing::put_u64;

constexpr uint32_t kF32 = 0;
constexpr uint32_t kQ4_0 = 2;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string failure_of(const std::string& file) {
  const auto parsed = GgufFile::parse(bytes_of(file));
  return parsed.is_ok() ? "no failure" : parsed.status().to_string();
}

std::string header(uint32_t version, uint64_t tensors, uint64_t values) {
  std::string file = "GGUF";
  put_u32(&file, version);
  put_u64(&file, tensors);
  put_u64(&file, values);
  return file;
}

GgufWriter writer_with_some_of_everything(uint32_t version) {
  GgufWriter writer(version);
  writer.add_u32("a.count", 7);
  writer.add_f32("a.number", 0.5F);
  writer.add_bool("a.flag", true);
  writer.add_string("a.text", "Ġthe");
  writer.add_strings("a.texts", std::vector<std::string>{"x", "", "zz"});
  writer.add_i32s("a.integers", std::vector<int32_t>{3, -1});
  writer.add_tensor("plain", {3, 2}, kF32, std::string(24, 'p'));
  writer.add_tensor("packed", {64}, kQ4_0, std::string(36, 'q'));
  return writer;
}

TEST(Gguf, ReadsBackWhatWasWrittenInVersions2And3) {
  for (const uint32_t version : {2U, 3U}) {
    const std::string bytes = writer_with_some_of_everything(version).finish();
    const auto file = GgufFile::parse(bytes_of(bytes));
    ASSERT_TRUE(file.is_ok()) << file.status().to_string();
    EXPECT_EQ(file->version(), version);
    EXPECT_EQ(file->find_unsigned("a.count").value(), 7);
    EXPECT_EQ(file->find_number("a.number").value(), 0.5);
    EXPECT_EQ(file->find_number("a.count").value(), 7.0);
    EXPECT_EQ(file->find_bool("a.flag").value(), true);
    EXPECT_EQ(file->find_string("a.text").value(), "Ġthe");
    EXPECT_EQ(file->find_strings("a.texts").value(), (std::vector<std::string_view>{"x", "", "zz"}));
    EXPECT_EQ(file->find_integers("a.integers").value(), (std::vector<int64_t>{3, -1}));
    EXPECT_EQ(file->find_string("absent").value(), std::nullopt);
    const GgufTensor* packed = file->find_tensor("packed");
    ASSERT_NE(packed, nullptr);
    EXPECT_EQ(packed->dims, (std::array<uint64_t, 4>{64, 1, 1, 1}));
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(packed->data.data()), packed->data.size()),
              std::string(36, 'q'));
    EXPECT_EQ(file->find_tensor("plain")->data.size(), 24);
    EXPECT_EQ(file->find_tensor("absent"), nullptr);
  }
}

TEST(Gguf, TheAlignmentOfTheFileCounts) {
  GgufWriter writer;
  writer.add_u32("general.alignment", 128);
  writer.add_tensor("a", {1}, kF32, "aaaa");
  writer.add_tensor("b", {1}, kF32, "bbbb");
  const std::string bytes = writer.finish(/*alignment=*/128);
  const auto file = GgufFile::parse(bytes_of(bytes));
  ASSERT_TRUE(file.is_ok()) << file.status().to_string();
  EXPECT_EQ(file->find_tensor("b")->data[0], std::byte{'b'});
}

TEST(Gguf, AValueOfAnotherTypeIsRefusedByKey) {
  const std::string bytes = writer_with_some_of_everything(3).finish();
  const auto file = GgufFile::parse(bytes_of(bytes));
  ASSERT_TRUE(file.is_ok());
  EXPECT_EQ(file->find_unsigned("a.text").status().to_string(),
            "corrupt: metadata 'a.text': is of type string; expected an unsigned integer");
  EXPECT_EQ(file->find_string("a.texts").status().to_string(),
            "corrupt: metadata 'a.texts': is an array of string; expected a string");
  EXPECT_THAT(file->find_number("a.flag").status().text(), HasSubstr("expected a number"));
  EXPECT_THAT(file->find_bool("a.count").status().text(), HasSubstr("expected a bool"));
  EXPECT_THAT(file->find_strings("a.integers").status().text(), HasSubstr("expected an array of strings"));
  EXPECT_THAT(file->find_integers("a.texts").status().text(), HasSubstr("expected an array of integers"));
}

TEST(Gguf, EveryTruncationIsRefused) {
  const std::string bytes = writer_with_some_of_everything(3).finish();
  const size_t end_of_data = bytes.size() - 28;  // padding after the last tensor
  for (size_t size = 0; size < end_of_data; ++size) {
    const std::string cut = bytes.substr(0, size);
    ASSERT_FALSE(GgufFile::parse(bytes_of(cut)).is_ok()) << size;
  }
  EXPECT_TRUE(GgufFile::parse(bytes_of(bytes.substr(0, end_of_data))).is_ok());
}

TEST(Gguf, AnyByteMayBeWrongWithoutHarm) {
  const std::string bytes = writer_with_some_of_everything(3).finish();
  for (size_t place = 0; place < bytes.size(); ++place) {
    for (const char wrong : {'\x00', '\x01', '\x09', '\x7F', '\xFF'}) {
      std::string broken = bytes;
      broken[place] = wrong;
      const auto file = GgufFile::parse(bytes_of(broken));
      EXPECT_EQ(file.is_ok(), file.status().text().empty());
    }
  }
}

TEST(Gguf, AWrongHeaderIsRefusedWithWhatIsWrong) {
  EXPECT_THAT(failure_of("GGML and so on, long enough"), HasSubstr("not a GGUF file"));
  EXPECT_THAT(failure_of("GG"), HasSubstr("at byte 0: the magic number needs 4 bytes, but the file ends after 2"));
  EXPECT_THAT(failure_of(header(1, 0, 0)), HasSubstr("unsupported: GGUF version 1; versions 2 and 3 are read"));
  EXPECT_THAT(failure_of(header(4, 0, 0)), HasSubstr("unsupported: GGUF version 4"));
  EXPECT_THAT(failure_of(header(0x03000000, 0, 0)), HasSubstr("unsupported: a big-endian GGUF file"));
  EXPECT_THAT(failure_of(header(3, 1ULL << 60, 0)),
              HasSubstr("claims 1152921504606846976 tensors; a file of 24 bytes"));
  EXPECT_THAT(failure_of(header(3, 0, UINT64_MAX)), HasSubstr("claims 18446744073709551615 metadata values"));
}

TEST(Gguf, HostileMetadataIsRefusedWithKeyAndPlace) {
  const auto with_value = [](uint32_t type, const std::string& value) {
    GgufWriter writer;
    writer.add_raw("key", type, value);
    return failure_of(writer.finish());
  };
  std::string huge;
  put_u64(&huge, 1ULL << 60);
  EXPECT_THAT(with_value(8, huge), HasSubstr("metadata 'key': at byte 47: a string needs 1152921504606846976 bytes"));
  EXPECT_THAT(with_value(13, ""), HasSubstr("metadata 'key': at byte 35: value type 13; expected 0 to 12"));

  std::string array;
  put_u32(&array, 4);
  put_u64(&array, UINT64_MAX / 2);
  EXPECT_THAT(with_value(9, array), HasSubstr("9223372036854775807 values of 4 bytes, but the file ends"));
  std::string strings;
  put_u32(&strings, 8);
  put_u64(&strings, 1ULL << 61);
  EXPECT_THAT(with_value(9, strings), HasSubstr("2305843009213693952 strings, but the file ends"));
  std::string nested;
  put_u32(&nested, 9);
  put_u64(&nested, 1);
  EXPECT_THAT(with_value(9, nested), HasSubstr("unsupported: metadata 'key': at byte 39: an array of arrays"));
}

TEST(Gguf, NamesMayNotRepeatAndMayNotBeEmpty) {
  GgufWriter keys;
  keys.add_u32("key", 1);
  keys.add_u32("key", 2);
  EXPECT_THAT(failure_of(keys.finish()), HasSubstr("metadata 'key' is there twice"));
  GgufWriter tensors;
  tensors.add_tensor("t", {1}, kF32, "aaaa");
  tensors.add_tensor("t", {1}, kF32, "bbbb");
  EXPECT_THAT(failure_of(tensors.finish()), HasSubstr("tensor 't' is there twice"));
  GgufWriter empty;
  empty.add_u32("", 1);
  EXPECT_THAT(failure_of(empty.finish()), HasSubstr("a metadata key is empty"));
}

TEST(Gguf, HostileTensorsAreRefusedByName) {
  const auto with_entry = [](const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    GgufWriter writer;
    writer.add_tensor_entry("t", dims, type, offset);
    return failure_of(writer.finish() + std::string(4096, 0));
  };
  EXPECT_EQ(with_entry({32}, kF32, 0), "no failure");
  EXPECT_THAT(with_entry({}, kF32, 0), HasSubstr("tensor 't': at byte 33: 0 dimensions; expected 1 to 4"));
  EXPECT_THAT(with_entry({1, 1, 1, 1, 1}, kF32, 0), HasSubstr("5 dimensions; expected 1 to 4"));
  EXPECT_THAT(with_entry({4, 0}, kF32, 0), HasSubstr("dimension 1 is 0"));
  EXPECT_THAT(with_entry({1ULL << 40}, kF32, 0), HasSubstr("goes past the end of the file"));
  EXPECT_THAT(with_entry({1ULL << 40, 1ULL << 40}, kF32, 0), HasSubstr("more than 2^64"));
  EXPECT_THAT(with_entry({1ULL << 62, 1}, kF32, 0), HasSubstr("more than 2^64"));
  EXPECT_THAT(with_entry({4}, kF32, UINT64_MAX - 31), HasSubstr("goes past the end of the file"));
  EXPECT_THAT(with_entry({4}, kF32, 1 << 20), HasSubstr("16 bytes at offset 1048576"));
  EXPECT_THAT(with_entry({4}, kF32, 4), HasSubstr("offset 4 is no multiple of the alignment 32"));
  EXPECT_THAT(with_entry({33}, kQ4_0, 0), HasSubstr("33 columns; Q4_0 comes in blocks of 32"));
  EXPECT_THAT(with_entry({32}, 77, 0), HasSubstr("unsupported: tensor 't': at byte 45: type 77, which is unknown"));
  EXPECT_THAT(with_entry({32}, 31, 0), HasSubstr("its type is Q4_0_4_4, which GGML has dropped"));
}

TEST(Gguf, AnAlignmentThatIsNoPowerOfTwoIsRefused) {
  for (const uint32_t alignment : {0U, 24U, UINT32_MAX}) {
    GgufWriter writer;
    writer.add_u32("general.alignment", alignment);
    EXPECT_THAT(failure_of(writer.finish()), HasSubstr("expected a power of two"));
  }
}

TEST(Gguf, ControlCharactersOfANameDoNotReachTheMessage) {
  GgufWriter writer;
  writer.add_tensor_entry("evil\n\x1b[31m" + std::string(500, 'x'), std::vector<uint64_t>{0}, kF32, 0);
  const std::string failure = failure_of(writer.finish());
  EXPECT_THAT(failure, HasSubstr("tensor 'evil??[31mxxx"));
  EXPECT_LT(failure.size(), 250);
}

}  // namespace
}  // namespace dynamo::model
