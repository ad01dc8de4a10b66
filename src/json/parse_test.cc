#include "json/parse.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dynamo::json {
namespace {

using ::testing::HasSubstr;
using Kind = ParseFailure::Kind;

std::optional<ParseFailure> failure_of(std::string_view text, const ParseOptions& options = {}) {
  std::optional<value> out;
  return parse(text, options, &out);
}

TEST(Parse, SaysWhatIsWrongAndWhere) {
  struct Row {
    std::string_view text;
    Kind kind;
    size_t position;
  };
  for (const Row& row :
       {Row{"", Kind::kEndsEarly, 0}, Row{"   ", Kind::kEndsEarly, 3}, Row{"{\"a\":", Kind::kEndsEarly, 5},
        Row{"hello", Kind::kSyntax, 0}, Row{"[01]", Kind::kSyntax, 2}, Row{"\"\xff\"", Kind::kSyntax, 1},
        Row{"{} x", Kind::kGoesOn, 3}, Row{"{}{}", Kind::kGoesOn, 2}}) {
    const auto failure = failure_of(row.text);
    ASSERT_TRUE(failure.has_value()) << row.text;
    EXPECT_EQ(failure->kind, row.kind) << row.text;
    EXPECT_EQ(failure->position, row.position) << row.text;
  }
  EXPECT_THAT(parse("[1,]").status().to_string(), HasSubstr("corrupt: at byte 3: not valid JSON: "));
}

TEST(Parse, LimitsDepthAndMemory) {
  EXPECT_FALSE(failure_of("[[[]]]", {.max_depth = 3}));
  EXPECT_EQ(failure_of("[[[[]]]]", {.max_depth = 3})->kind, Kind::kTooDeep);
  EXPECT_EQ(failure_of(std::string(33, '['))->kind, Kind::kTooDeep);
  std::string many = "[0";
  for (int i = 0; i < 50'000; ++i) many += ",1";
  many += "]";
  EXPECT_FALSE(failure_of(many));
  EXPECT_EQ(failure_of(many, {.max_memory = 64 << 10})->kind, Kind::kTooLarge);
}

TEST(Parse, OfANameGivenTwiceTheLastCounts) {
  const value document = parse_object(R"({"a": 1, "b": 2, "a": 3})").value();
  EXPECT_EQ(document.at("a").as_int64(), 3);
  EXPECT_EQ(document.get_object().size(), 2U);
}

TEST(Parse, AByteOrderMarkIsSkipped) {
  EXPECT_TRUE(parse_object("\xEF\xBB\xBF{}").is_ok());
  EXPECT_FALSE(parse_object("\xEF\xBB\xBF\xEF\xBB\xBF{}").is_ok());
}

TEST(Parse, ADocumentThatIsNoObjectIsRefusedByItsType) {
  EXPECT_EQ(parse_object("[1]").status().to_string(), "corrupt: is JSON of type array; expected an object");
}

}  // namespace
}  // namespace dynamo::json
