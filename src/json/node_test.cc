#include "json/node.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace dynamo::json {
namespace {

const value& document() {
  static const value parsed =
      parse(R"({"none": null, "text": "words", "on": true, "count": 7, "float": 1.5, "whole": 8.0,
      "exact": 9007199254740993, "huge": 18446744073709551615, "negative": -2, "list": [1, {"name": 3}],
      "in": {"deep": {"x": "y"}}})")
          .value();
  return parsed;
}

TEST(Node, ANumberIsFinite) {
  for (const char* text : {"1e999", "-1e999", "0e555"}) {
    const value document = parse(text).value();
    EXPECT_EQ(Node(document).find_number().status().code(), Code::kCorrupt) << text;
  }
}

TEST(Node, GivesWhatIsThereAndNothingForWhatIsNot) {
  const Node root(document());
  EXPECT_EQ(root["text"].find_string().value(), "words");
  EXPECT_EQ(root["on"].find_bool().value(), true);
  EXPECT_EQ(root["count"].find_count().value(), 7U);
  EXPECT_EQ(root["count"].find_number().value(), 7.0);
  EXPECT_EQ(root["float"].find_number().value(), 1.5);
  EXPECT_EQ(root["whole"].find_integer(0, 8).value(), 8);
  EXPECT_EQ(root["exact"].find_integer(0, INT64_MAX).value(), 9007199254740993);
  EXPECT_EQ(root["in"]["deep"]["x"].string().value(), "y");
  for (const char* name : {"none", "missing"}) {
    EXPECT_TRUE(root[name].is_absent());
    EXPECT_EQ(root[name].value(), nullptr);
    EXPECT_EQ(root[name].find_string().value(), std::nullopt);
    EXPECT_EQ(root[name].flag(true).value(), true);
    EXPECT_TRUE(root[name]["below"].is_absent());
  }
}

TEST(Node, SaysWhereWhatAndWhatWasExpected) {
  const Node root(document());
  EXPECT_EQ(root["text"].find_count().status().to_string(),
            "corrupt: field 'text' is of type string; expected an integer");
  EXPECT_EQ(root["float"].find_count().status().to_string(), "corrupt: field 'float' is 1.5; expected an integer");
  EXPECT_EQ(root["negative"].find_integer(-1, 4294967295).status().to_string(),
            "corrupt: field 'negative' is -2; expected -1 to 4294967295");
  EXPECT_EQ(root["huge"].find_count().status().to_string(),
            "corrupt: field 'huge' is 18446744073709551615; expected 0 to 4294967295");
  EXPECT_EQ(root["in"]["deep"]["z"].string().status().to_string(), "corrupt: field 'in.deep.z' is missing");
  EXPECT_EQ(root["none"].count().status().to_string(), "corrupt: field 'none' is missing");
  const Node list = root["list"];
  EXPECT_EQ(list.at(**list.array(), 1)["name"].string().status().to_string(),
            "corrupt: field 'list[1].name' is of type int64; expected a string");
  EXPECT_EQ(list.object().status().to_string(), "corrupt: field 'list' is of type array; expected an object");
}

TEST(Node, SpeaksTheWordsOfItsRoot) {
  const Node root(document(), "file", [](const Problem& problem) { return invalid(problem.path + "!"); });
  EXPECT_EQ(root["in"]["deep"].string().status().to_string(), "invalid: file.in.deep!");
  EXPECT_EQ(root["nowhere"].wrong("a token id").to_string(), "invalid: file.nowhere!");
}

TEST(Quote, CutsBetweenCharacters) {
  const std::string text = std::string(63, 'a') + "é tail";
  EXPECT_EQ(shorten(text), std::string(63, 'a') + "...");
  EXPECT_EQ(quote("short"), "'short'");
}

}  // namespace
}  // namespace dynamo::json
