#include "http/query.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dynamo::http {
namespace {

using ::testing::HasSubstr;

std::string value_of(std::string_view query, std::string_view name) {
  const auto value = query_parameter(query, name);
  if (!value.is_ok()) return "refused: " + value.status().text();
  return value->value_or("(none)");
}

TEST(Query, ValuesAreDecoded) {
  EXPECT_EQ(value_of("last=5&request_id=a%3Ab", "request_id"), "a:b");
  EXPECT_EQ(value_of("x=%e2%82%AC%25&y", "x"), "\xE2\x82\xAC%");
  EXPECT_EQ(value_of("x=a+b%2Bc", "x"), "a b+c");
  EXPECT_EQ(value_of("x=a%26b%3Dc&y=1", "x"), "a&b=c");
}

TEST(Query, NamesAreDecodedToo) {
  EXPECT_EQ(value_of("request%5Fid=7", "request_id"), "7");
  EXPECT_EQ(value_of("request%5Gid=7&request_id=8", "request_id"), "8");
}

TEST(Query, TheFirstOfANameCounts) {
  EXPECT_EQ(value_of("x=1&x=2", "x"), "1");
  EXPECT_EQ(value_of("&&x=a=b&", "x"), "a=b");
}

TEST(Query, WhatIsNotThereIsNone) {
  EXPECT_EQ(value_of("", "x"), "(none)");
  EXPECT_EQ(value_of("xy=1&y=x", "x"), "(none)");
  EXPECT_EQ(value_of("x", "x"), "");
  EXPECT_EQ(value_of("x=", "x"), "");
}

TEST(Query, BrokenEncodingIsRefusedByName) {
  for (const char* query : {"x=%", "x=1%2", "x=%zz", "x=%00", "x=%-1"})
    EXPECT_THAT(value_of(query, "x"), HasSubstr("refused: the query's 'x'")) << query;
  EXPECT_EQ(value_of("y=%&x=1", "x"), "1") << "of another parameter it does not matter";
}

}  // namespace
}  // namespace dynamo::http
