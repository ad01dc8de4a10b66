#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "base/log_output.h"

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

TEST_F(LogTest, OnlyEnabledLinesAreWritten) {
  flush();
  testing::internal::CaptureStderr();
  LOG(info, "instance lost", {"id", 7});
  LOG(debug, "not shown");
  flush();
  const std::string out = testing::internal::GetCapturedStderr();
  EXPECT_NE(out.find("Z [INFO] instance lost id=7\n"), std::string::npos) << out;
  EXPECT_EQ(out.find("not shown"), std::string::npos);
}

// Each in a new process: how a process ends.
class LogEnd : public testing::Test {
 protected:
  LogEnd() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  ~LogEnd() override { GTEST_FLAG_SET(death_test_style, "fast"); }

  // Standard error is a full pipe from now on.
  static void stop_reading() {
    int ends[2];
    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    const std::string bytes(4096, 'x');
    while (::write(ends[1], bytes.data(), bytes.size()) > 0) continue;
    fcntl(ends[1], F_SETFL, 0);
    dup2(ends[1], STDERR_FILENO);
  }
};

TEST_F(LogEnd, JsonLinesAreWrittenBeforeExit) {
  EXPECT_EXIT(
      {
        write_json_lines();
        LOG(warn, "a \"b\"", {"n", 3});
        std::exit(0);
      },
      testing::ExitedWithCode(0), R"(^\{"time":"[^"]*Z","level":"warn","message":"a \\"b\\"","n":"3"\})");
}

TEST_F(LogEnd, StaticObjectsMayLogWhileTheyAreDestroyed) {
  EXPECT_EXIT(
      {
        struct Last {
          ~Last() { LOG(info, "the last line"); }
        };
        static const Last last;  // made before the log is used, so destroyed after what exit() does for it
        static_cast<void>(last);
        LOG(info, "the first line");
        std::exit(0);
      },
      testing::ExitedWithCode(0), "the first line\n.*the last line\n");
}

TEST_F(LogEnd, AReaderThatDoesNotReadDoesNotKeepAProcessFromEnding) {
  EXPECT_EXIT(
      {
        stop_reading();
        for (int i = 0; i < 100; ++i) LOG(info, "never read", {"i", i});
        std::exit(7);
      },
      testing::ExitedWithCode(7), "");
}

TEST_F(LogEnd, AFailedCheckWritesTheLinesBeforeItAndIsSaid) {
  EXPECT_DEATH(
      {
        for (int i = 0; i < 100; ++i) LOG(info, "before", {"i", i});
        CHECK(1 + 1 == 3);
      },
      "before i=98\n.*before i=99\nCHECK failed at .*: 1 \\+ 1 == 3\n");
}

TEST_F(LogEnd, AFailedCheckEndsAProcessThatNobodyReads) {
  EXPECT_EXIT(
      {
        stop_reading();
        LOG(info, "never read");
        CHECK(1 + 1 == 3);
      },
      testing::KilledBySignal(SIGABRT), "");
}

TEST(LogFork, AForkedProcessLogsOnAThreadOfItsOwn) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "TSan ends a process that was forked from several threads and starts another";
#endif
  LOG(info, "the parent's thread runs");
  flush();
  EXPECT_EXIT(
      {
        LOG(info, "of the child");
        std::exit(0);
      },
      testing::ExitedWithCode(0), "of the child\n");
}

TEST(LogDropped, IsAMetric) {
  Metrics metrics;
  show_metrics(&metrics);
  EXPECT_NE(metrics.expose().find(fmt::format("dynamo_log_dropped_lines_total {}\n", dropped_lines())),
            std::string::npos);
}

TEST(LogModule, IsTheFirstFolderOfTheSourcePath) {
  EXPECT_EQ(module_of("router/cost.cc"), "router");
}

}  // namespace
}  // namespace dynamo::log
