#include "base/log.h"

#include <gtest/gtest.h>

namespace dynamo::log {
namespace {

class LogTest : public testing::Test {
 protected:
  ~LogTest() override { CHECK(configure("info").is_ok()); }
};

TEST_F(LogTest, LevelsAreSetPerModule) {
  ASSERT_TRUE(configure("warn,router=debug").is_ok());
  EXPECT_TRUE(is_enabled(Level::debug, "router"));
  EXPECT_FALSE(is_enabled(Level::info, "engine"));
  EXPECT_TRUE(is_enabled(Level::error, "engine"));
}

TEST_F(LogTest, AWrongLevelIsNamed) {
  const Status status = configure("info,router=loud");
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.text().find("'loud'"), std::string::npos);
}

TEST_F(LogTest, ALineHoldsLevelTextAndQuotedFields) {
  testing::internal::CaptureStderr();
  LOG(info, "instance lost", {"id", 7}, {"why", "no \"ping\"\nat all"});
  LOG(debug, "not shown");
  const std::string out = testing::internal::GetCapturedStderr();
  EXPECT_NE(out.find("Z [INFO] instance lost id=7 why=\"no \\\"ping\\\"\\nat all\"\n"), std::string::npos) << out;
  EXPECT_EQ(out.find("not shown"), std::string::npos);
}

TEST_F(LogTest, NothingThatIsLoggedEndsALineOrIsAnOrderToATerminal) {
  testing::internal::CaptureStderr();
  LOG(info, "from a\r\x1b[2Jpeer\n2026 [ERROR] forged", {"name", "a\x1b]0;title\x07"},
      {"c1",
       "\xC2\x9B"
       "1m"},
      {"text", "\xC2\xA3\xC3\xA9"}, {"tab", "a\tb\x7f"});
  const std::string out = testing::internal::GetCapturedStderr();
  EXPECT_NE(out.find(R"([INFO] from a\x0d\x1b[2Jpeer\n2026 [ERROR] forged name="a\x1b]0;title\x07" c1="\x9b1m" text=")"
                     "\xC2\xA3\xC3\xA9"
                     R"(" tab="a\x09b\x7f")"
                     "\n"),
            std::string::npos)
      << out;
}

TEST(LogJson, EachLineIsAnObject) {
  EXPECT_EXIT(
      {
        write_json_lines();
        LOG(warn, "a \"b\"", {"why", "line\nbreak"}, {"n", 3});
        std::_Exit(0);
      },
      testing::ExitedWithCode(0),
      R"(^\{"time":"[^"]*Z","level":"warn","message":"a \\"b\\"","why":"line\\u000abreak","n":"3"\})");
}

TEST(LogModule, IsTheFirstFolderOfTheSourcePath) {
  EXPECT_EQ(module_of("router/cost.cc"), "router");
}

}  // namespace
}  // namespace dynamo::log
