#include "json/lookup.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace dynamo::json {
namespace {

TEST(Lookup, WhatLeadsNowhereIsNothing) {
  const value reply =
      parse(R"({"choices": [{"delta": {"content": "hi"}}], "usage": {"n": 3, "below": -1, "part": 0.5}})").value();
  EXPECT_EQ(find_text(reply, "/choices/0/delta/content"), "hi");
  EXPECT_EQ(find_count(reply, "/usage/n"), 3U);
  EXPECT_EQ(find(reply, ""), &reply);
  EXPECT_EQ(find(reply, "/choices/1"), nullptr);
  EXPECT_EQ(find(reply, "/usage/0"), nullptr);
  EXPECT_EQ(find(reply, "/choices/delta"), nullptr);
  EXPECT_EQ(find_text(reply, "/usage/n"), "");
  EXPECT_EQ(find_count(reply, "/choices"), 0U);
  EXPECT_EQ(find_count(reply, "/usage/below"), 0U);
  EXPECT_EQ(find_count(reply, "/usage/part"), 0U);
}

}  // namespace
}  // namespace dynamo::json
