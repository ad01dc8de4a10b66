// A supervisor of processes of this test program, which the tests below named Child are.
#include "apps/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "apps/readiness.h"

namespace dynamo::apps {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;

constexpr Duration kPatience = std::chrono::minutes(5);

// The descriptor that `--ready-fd N` names, which is last on a child's command line.
int ready_fd() {
  std::ifstream file("/proc/self/cmdline");
  std::string last;
  for (std::string argument; std::getline(file, argument, '\0');) last = argument;
  return std::atoi(last.c_str());
}

// What children do. No test of this program: they run where a supervisor started them.
TEST(Child, DISABLED_IsReadyAndWaitsForItsEnd) {
  tell_ready(ready_fd(), "first", "one:1");
  tell_ready(ready_fd(), "second", "two:2");
  std::fputs("a line of mine\nand a part of one", stderr);
  for (;;) ::pause();
}
TEST(Child, DISABLED_Fails) {
  std::_Exit(7);
}
TEST(Child, DISABLED_SaysNothing) {
  for (;;) ::pause();
}
TEST(Child, DISABLED_MindsNoSignal) {
  ::signal(SIGTERM, SIG_IGN);
  tell_ready(ready_fd(), "deaf", "");
  for (;;) ::pause();
}

ChildOptions child(const std::string& test) {
  return {.name = "child",
          .arguments = {"--gtest_also_run_disabled_tests", "--gtest_brief=1", "--gtest_filter=Child.DISABLED_" + test}};
}

class SupervisorTest : public testing::Test {
 protected:
  static Time until() { return Clock::steady().now() + kPatience; }
  ~SupervisorTest() override { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  sigset_t before_ = [] {
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return mask;
  }();
  StopSignals signals_;
  Supervisor supervisor_{&signals_};
};

TEST_F(SupervisorTest, AChildIsReadyOnceItSaysSoAndIsReachedWhereItSaid) {
  ASSERT_TRUE(supervisor_.start(child("IsReadyAndWaitsForItsEnd")).is_ok());
  const auto where = supervisor_.wait_until_ready(until());
  ASSERT_TRUE(where.is_ok()) << where.status().to_string();
  EXPECT_EQ(*where, "one:1");
  supervisor_.stop();
}

TEST_F(SupervisorTest, AChildThatEndsBeforeItIsReadyIsSaidWithItsStatus) {
  ASSERT_TRUE(supervisor_.start(child("Fails")).is_ok());
  const Status status = supervisor_.wait_until_ready(until()).status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.text(), HasSubstr("child ended with exit status 7"));
}

TEST_F(SupervisorTest, AWaitEndsInTimeAndBySignal) {
  ASSERT_TRUE(supervisor_.start(child("SaysNothing")).is_ok());
  EXPECT_EQ(supervisor_.wait_until_ready(Clock::steady().now()).status().code(), Code::kDeadline);
  ::raise(SIGTERM);
  EXPECT_EQ(supervisor_.wait_until_ready(until()).status().code(), Code::kCancelled);
  supervisor_.stop();
}

TEST_F(SupervisorTest, AChildThatDiesIsStartedAgainUntilASignalComes) {
  auto options = child("IsReadyAndWaitsForItsEnd");
  ASSERT_TRUE(supervisor_.start(options).is_ok());
  ASSERT_TRUE(supervisor_.wait_until_ready(until()).is_ok());
  // From now on it is one that ends this run as soon as it is there.
  const std::string mark = testing::TempDir() + "supervisor_test." + std::to_string(::getpid());
  ::setenv("SUPERVISOR_TEST_MARK", mark.c_str(), 1);
  options.arguments.back() = "--gtest_filter=Child.DISABLED_EndsTheRun";
  supervisor_.set_arguments("child", options.arguments);
  const std::string kill_child = "pkill -KILL -P " + std::to_string(::getpid()) + " -f [I]sReadyAndWaitsForItsEnd";
  ASSERT_EQ(std::system(kill_child.c_str()), 0);
  EXPECT_EQ(supervisor_.run(), SIGHUP);
  EXPECT_TRUE(std::ifstream(mark).good());
  std::remove(mark.c_str());
  ::unsetenv("SUPERVISOR_TEST_MARK");
  supervisor_.stop();
}
TEST(Child, DISABLED_EndsTheRun) {
  const char* mark = std::getenv("SUPERVISOR_TEST_MARK");
  ASSERT_NE(mark, nullptr);
  std::ofstream(mark) << "was here";
  ::kill(::getppid(), SIGHUP);
  for (;;) ::pause();
}

TEST_F(SupervisorTest, AChildThatMindsNoSignalIsKilledAfterItsTime) {
  auto options = child("MindsNoSignal");
  options.stop_limit = 1ms;
  ASSERT_TRUE(supervisor_.start(options).is_ok());
  ASSERT_TRUE(supervisor_.wait_until_ready(until()).is_ok());
  supervisor_.stop();  // returns, which it does once no child is left
}

}  // namespace
}  // namespace dynamo::apps
