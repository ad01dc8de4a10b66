#include "openai/request_body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "json/object_reader.h"

namespace dynamo::openai {
namespace {

using json::ObjectReader;
using ::testing::HasSubstr;

constexpr uint32_t kDepth = 8;

std::string wrong_with(std::string_view body) {
  std::optional<json::value> value;
  const auto wrong = parse_body(body, kDepth, &value);
  if (!wrong) return "";
  EXPECT_EQ(wrong->code, Code::kInvalid);
  EXPECT_EQ(wrong->error_code, "invalid_json");
  return wrong->message;
}

std::string nested(int levels) {
  std::string text;
  for (int i = 0; i < levels - 1; ++i) text += R"({"a":)";
  text += "{}";
  return text + std::string(levels - 1, '}');
}

TEST(ParseBody, SaysWhatIsNoJsonAndWhere) {
  const std::pair<std::string_view, const char*> rows[] = {
      {"", "The request body is empty"},
      {"   ", "ends too early, after 3 bytes"},
      {"{", "ends too early, after 1 bytes"},
      {R"({"a": )", "ends too early"},
      {"hello", "syntax error at byte 0"},
      {"nul", "ends too early"},
      {R"({"a": 1} trailing)", "something follows its end at byte 9"},
      {R"({"a": 1}{})", "something follows its end at byte 8"},
      {R"({"a": 01})", "at byte 7"},
      {R"({"a": "\ud800"})", "at byte "},
      {"{\"a\": \"\xff\"}", "at byte 7"},
      {"{\"a\": \"\xc0\xaf\"}", "at byte 7"},
      {"{\"a\": \"\n\"}", "at byte 7"},
      {"[1]", "must be a JSON object, but it is an array"},
      {"null", "must be a JSON object, but it is null"},
      {"\"text\"", "must be a JSON object, but it is a string"},
  };
  for (const auto& [body, message] : rows) EXPECT_THAT(wrong_with(body), HasSubstr(message)) << body;
}

TEST(ParseBody, SkipsAByteOrderMarkAndCountsItsBytes) {
  EXPECT_EQ(wrong_with("\xEF\xBB\xBF{\"a\": 1}"), "");
  EXPECT_EQ(wrong_with("\xEF\xBB\xBF {}\n"), "");
  EXPECT_THAT(wrong_with("\xEF\xBB\xBF{\"a\": 01}"), HasSubstr("at byte 10"));
  EXPECT_THAT(wrong_with("\xEF\xBB\xBF{} x"), HasSubstr("something follows its end at byte 6"));
  EXPECT_THAT(wrong_with("\xEF\xBB\xBF"), HasSubstr("ends too early, after 3 bytes"));
  EXPECT_THAT(wrong_with("\xEF\xBB\xBF\xEF\xBB\xBF{}"), HasSubstr("at byte 3"));
  EXPECT_THAT(wrong_with("\xEF\xBB{}"), HasSubstr("at byte 0"));
}

TEST(ParseBody, LimitsTheDepth) {
  EXPECT_EQ(wrong_with(nested(kDepth)), "");
  EXPECT_THAT(wrong_with(nested(kDepth + 1)), HasSubstr("nested too deep: more than 8 levels"));
  EXPECT_THAT(wrong_with(R"({"a":)" + std::string(1 << 20, '[')), HasSubstr("nested too deep"));
}

TEST(ParseBody, LimitsTheMemory) {
  std::string many = R"({"a":[)";
  for (int i = 0; i < 8 << 20; ++i) many += "[],";
  many += "0]}";
  EXPECT_THAT(wrong_with(many), HasSubstr("too many values"));
}

TEST(ParseBody, OfANameGivenTwiceTheLastCounts) {
  std::optional<json::value> value;
  ASSERT_FALSE(parse_body(R"({"a": 1, "b": 2, "a": 3})", kDepth, &value));
  EXPECT_EQ(value->at("a").as_int64(), 3);
  EXPECT_EQ(value->as_object().size(), 2U);
}

// Reads one member of `text` and returns what was wrong with it.
template <class Read>
std::string error_of(const char* text, Read read) {
  std::optional<json::value> value;
  EXPECT_FALSE(parse_body(text, kDepth, &value));
  json::FirstProblem error;
  ObjectReader reader(value->get_object(), "at", &error);
  read(&reader);
  const auto wrong = to_api_error(error);
  return wrong ? wrong->message : "";
}

TEST(ObjectReader, NamesThePathWhatWasExpectedAndWhatCame) {
  EXPECT_EQ(error_of(R"({"x":"1"})", [](ObjectReader* r) { r->integer("x", 1, 5); }),
            "Invalid type for 'at.x': expected an integer, but got a string instead.");
  EXPECT_EQ(error_of(R"({"x":1.5})", [](ObjectReader* r) { r->integer("x", 1, 5); }),
            "Invalid type for 'at.x': expected an integer, but got a number with a fraction instead.");
  EXPECT_EQ(error_of(R"({"x":6})", [](ObjectReader* r) { r->integer("x", 1, 5); }),
            "Invalid value for 'at.x': expected an integer from 1 to 5, but got 6.");
  EXPECT_EQ(error_of(R"({"x":18446744073709551615})", [](ObjectReader* r) { r->integer("x", 1, 5); }),
            "Invalid value for 'at.x': expected an integer from 1 to 5, but got 18446744073709551615.");
  EXPECT_EQ(error_of(R"({"x":0})", [](ObjectReader* r) { r->number("x", 0, 1, true); }),
            "Invalid value for 'at.x': expected a number above 0 to 1, but got 0.");
  EXPECT_EQ(error_of(R"({"x":1e999})", [](ObjectReader* r) { r->number("x", 0, 1); }),
            "Invalid value for 'at.x': expected a number from 0 to 1, but got inf.");
  EXPECT_EQ(error_of(R"({"x":[]})", [](ObjectReader* r) { r->boolean("x"); }),
            "Invalid type for 'at.x': expected a boolean, but got an array instead.");
  EXPECT_EQ(error_of(R"({"x":true})", [](ObjectReader* r) { r->string("x"); }),
            "Invalid type for 'at.x': expected a string, but got a boolean instead.");
  EXPECT_EQ(error_of(R"({"x":1})", [](ObjectReader* r) { r->object("x"); }),
            "Invalid type for 'at.x': expected an object, but got an integer instead.");
  EXPECT_EQ(error_of(R"({"x":{}})", [](ObjectReader* r) { r->array("x"); }),
            "Invalid type for 'at.x': expected an array, but got an object instead.");
  EXPECT_EQ(error_of(R"({"x":null})", [](ObjectReader* r) { r->required_string("x"); }),
            "Missing required parameter: 'at.x'.");
}

TEST(ObjectReader, TakesAnIntegerHoweverItIsWritten) {
  std::optional<json::value> value;
  ASSERT_FALSE(parse_body(R"({"a":8.0,"b":-1.0,"c":8e1,"d":-0.0,"e":9007199254740993,"f":80E-1})", kDepth, &value));
  json::FirstProblem error;
  ObjectReader reader(value->get_object(), "", &error);
  EXPECT_EQ(reader.integer("a", 1, 8), 8);
  EXPECT_EQ(reader.integer("b", -1, 8), -1);
  EXPECT_EQ(reader.integer("c", 1, 80), 80);
  EXPECT_EQ(reader.integer("d", 0, 8), 0);
  EXPECT_EQ(reader.integer("e", INT64_MIN, INT64_MAX), 9007199254740993);
  EXPECT_EQ(reader.integer("f", 1, 8), 8);
  EXPECT_FALSE(error.has_value());
}

TEST(ObjectReader, RefusesNumbersThatAreNoIntegersOrTooLarge) {
  const auto read = [](ObjectReader* r) { r->integer("x", INT64_MIN, INT64_MAX); };
  EXPECT_EQ(error_of(R"({"x":8.5})", read),
            "Invalid type for 'at.x': expected an integer, but got a number with a fraction instead.");
  EXPECT_THAT(error_of(R"({"x":1e300})", read), HasSubstr("Invalid value for 'at.x': expected an integer from"));
  EXPECT_THAT(error_of(R"({"x":1e999})", read), HasSubstr("but got inf."));
  EXPECT_THAT(error_of(R"({"x":9223372036854775808.0})", read), HasSubstr("but got 9.223372036854776e+18."));
  EXPECT_EQ(error_of(R"({"x":9.0})", [](ObjectReader* r) { r->integer("x", 1, 8); }),
            "Invalid value for 'at.x': expected an integer from 1 to 8, but got 9.");
}

TEST(ObjectReader, KeepsTheFirstErrorOnly) {
  EXPECT_THAT(error_of(R"({"x":1,"y":1})",
                       [](ObjectReader* r) {
                         r->string("y");
                         r->string("x");
                         r->refuse_unknown(kUnknownMember);
                       }),
              HasSubstr("'at.y'"));
}

TEST(ObjectReader, RefusesMembersThatNobodyAskedForUnlessNull) {
  const auto read_x = [](ObjectReader* r) {
    r->value("x");
    r->refuse_unknown(kUnknownMember);
  };
  EXPECT_EQ(error_of(R"({"x":1,"y":null})", read_x), "");
  EXPECT_EQ(error_of(R"({"x":1,"y":0})", read_x), "Unsupported parameter: 'at.y'. This server does not know it.");
  const std::string longest = "{\"" + std::string(1000, 'y') + "\":1}";
  EXPECT_LT(error_of(longest.c_str(), read_x).size(), 200U);
}

}  // namespace
}  // namespace dynamo::openai
