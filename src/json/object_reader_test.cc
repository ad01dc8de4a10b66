#include "json/object_reader.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace dynamo::json {
namespace {

// What is wrong with `text`, read by `read`.
template <class Read>
std::string wrong_with(const char* text, Read read) {
  const value document = parse_object(text).value();
  FirstProblem problem;
  ObjectReader reader(document.get_object(), "at", &problem);
  read(&reader);
  return problem.has_value() ? to_text(*problem) : "";
}

TEST(ObjectReader, KeepsTheFirstProblemOnly) {
  EXPECT_EQ(wrong_with(R"({"x":1,"y":1})",
                       [](ObjectReader* r) {
                         r->string("y");
                         r->string("x");
                         r->required_string("z");
                         r->refuse_unknown("?");
                       }),
            "field 'at.y' is of type int64; expected a string");
}

TEST(ObjectReader, AProblemIsDescribedWithoutTheWordField) {
  EXPECT_EQ(describe({.kind = Problem::Kind::kMissing, .path = "x"}), "'x' is missing");
}

TEST(ObjectReader, RangesAreClosedUnlessSaid) {
  const auto number = [](bool excludes_least) {
    return wrong_with(R"({"x":0})", [&](ObjectReader* r) { r->number("x", 0, 1, excludes_least); });
  };
  EXPECT_EQ(number(false), "");
  EXPECT_EQ(number(true), "field 'at.x' is 0; expected above 0 to 1");
  EXPECT_EQ(wrong_with(R"({"x":1e999})", [](ObjectReader* r) { r->number("x", 0, 1); }),
            "field 'at.x' is inf; expected 0 to 1");
  EXPECT_EQ(wrong_with(R"({"x":9.0})", [](ObjectReader* r) { r->integer("x", 1, 8); }),
            "field 'at.x' is 9; expected 1 to 8");
}

TEST(ObjectReader, WhatIsRequiredAndAbsentOrNullIsMissing) {
  EXPECT_EQ(wrong_with("{}", [](ObjectReader* r) { r->required_string("x"); }), "field 'at.x' is missing");
  EXPECT_EQ(wrong_with(R"({"x":null})", [](ObjectReader* r) { r->required_integer("x", 0, 1); }),
            "field 'at.x' is missing");
  EXPECT_EQ(wrong_with(R"({"x":2})", [](ObjectReader* r) { r->required_number("x", 0, 1); }),
            "field 'at.x' is 2; expected 0 to 1");
}

TEST(ObjectReader, RefusesWhatNobodyAskedForUnlessNull) {
  const auto read_x = [](ObjectReader* r) {
    r->value("x");
    r->refuse_unknown("it is not known");
  };
  EXPECT_EQ(wrong_with(R"({"x":1,"y":null})", read_x), "");
  EXPECT_EQ(wrong_with(R"({"x":1,"y":0})", read_x), "field 'at.y': it is not known");
  EXPECT_EQ(wrong_with(R"({"x":"b"})", [](ObjectReader* r) { r->only("x", "a", "only a"); }), "field 'at.x': only a");
  EXPECT_EQ(wrong_with(R"({"x":"b"})", [](ObjectReader* r) { r->refuse("x", "never"); }), "field 'at.x': never");
}

}  // namespace
}  // namespace dynamo::json
