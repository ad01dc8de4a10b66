#include "transfer/write_permits.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <set>
#include <thread>

#include "base/check.h"
#include "base/testing/patience.h"

namespace dynamo::transfer {
namespace {

std::unique_ptr<WritePermits> make() {
  auto permits = WritePermits::create();
  CHECK_OK(permits);
  return std::move(*permits);
}

TEST(WritePermits, OnlyUnderAnOpenPermitWritingIsAllowed) {
  const auto permits = make();
  PermitWriter writer = permits->writer(*permits->add_writer());
  const PermitId one = permits->open();
  const PermitId other = permits->open();
  EXPECT_TRUE(writer.begin(one));
  writer.end();
  permits->close(one);
  EXPECT_FALSE(writer.begin(one));
  EXPECT_TRUE(writer.begin(other));
  writer.end();
  EXPECT_FALSE(writer.begin(kNoPermit));
  EXPECT_FALSE(writer.begin(other + WritePermits::kMostOpen));  // a guess at its place
}

TEST(WritePermits, APoolWithoutPermitsMayBeWrittenByAll) {
  PermitWriter writer;
  EXPECT_TRUE(writer.begin(kNoPermit));
  writer.end();
}

TEST(WritePermits, AWriteThatBeganBeforeItsPermitWasClosedIsSeenUntilItEnds) {
  const auto permits = make();
  PermitWriter writer = permits->writer(*permits->add_writer());
  const PermitId permit = permits->open();
  ASSERT_TRUE(writer.begin(permit));
  permits->close(permit);
  EXPECT_TRUE(permits->is_used(permit));
  writer.end();
  EXPECT_FALSE(permits->is_used(permit));
}

TEST(WritePermits, AWriterThatIsTakenOutIsNotSeenAnyMore) {
  const auto permits = make();
  const uint32_t number = *permits->add_writer();
  const PermitId permit = permits->open();
  ASSERT_TRUE(permits->writer(number).begin(permit));
  permits->close(permit);
  permits->remove_writer(number);
  EXPECT_FALSE(permits->is_used(permit));
}

TEST(WritePermits, ThereIsAnEndToPermitsAndWritersAndNoneIsTheSameTwice) {
  const auto permits = make();
  std::set<PermitId> seen;
  std::vector<PermitId> open;
  for (size_t i = 0; i < WritePermits::kMostOpen; ++i) {
    open.push_back(permits->open());
    ASSERT_NE(open.back(), kNoPermit);
    EXPECT_TRUE(seen.insert(open.back()).second);
  }
  EXPECT_EQ(permits->open(), kNoPermit);
  for (const PermitId permit : open) permits->close(permit);
  for (size_t i = 0; i < 1000; ++i) {
    const PermitId permit = permits->open();
    EXPECT_TRUE(seen.insert(permit).second);
    permits->close(permit);
  }
  for (size_t i = 0; i < WritePermits::kMostWriters; ++i) ASSERT_TRUE(permits->add_writer());
  EXPECT_FALSE(permits->add_writer());
  permits->remove_writer(7);
  EXPECT_EQ(permits->add_writer(), 7U);
}

// Writers write as fast as they can under permits that are closed under them. Whoever closed one changes the memory as soon as he may;
// what a late writer did to it would show.
TEST(WritePermits, NothingIsWrittenAfterAClosedPermitIsNotUsedAnyMore) {
  constexpr int kWriters = 3;
  const auto permits = make();
  std::atomic<uint64_t> current = permits->open();
  std::atomic<bool> is_over = false;
  std::atomic<uint64_t> writes = 0;
  std::vector<std::atomic<uint64_t>> words(64);
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, number = *permits->add_writer()] {
      PermitWriter writer = permits->writer(number);
      while (!is_over) {
        const PermitId permit = current;
        if (!writer.begin(permit)) continue;
        for (auto& word : words) word.store(permit, std::memory_order_relaxed);
        writer.end();
        ++writes;
        std::this_thread::yield();  // there are fewer cores than threads
      }
    });
  }
  for (int round = 0; round < 300; ++round) {
    const uint64_t before = writes;
    const Time until = soon();
    while (writes == before && Clock::steady().now() < until) std::this_thread::yield();
    ASSERT_GT(writes, before);
    const PermitId closed = current;
    permits->close(closed);
    while (permits->is_used(closed)) std::this_thread::yield();
    for (auto& word : words) word.store(0, std::memory_order_relaxed);
    std::this_thread::yield();
    for (auto& word : words) ASSERT_NE(word.load(std::memory_order_relaxed), closed) << "round " << round;
    current = permits->open();
  }
  is_over = true;
  for (std::thread& writer : writers) writer.join();
}

// The memory is mapped by writers too, and a broken one may write anything there.
TEST(WritePermits, AWriterThatSpoilsTheMemoryEndsNobody) {
  const auto permits = make();
  const PermitId permit = permits->open();
  auto mapped = SharedMemory::map(::dup(permits->fd()), WritePermits::kMappedBytes);
  ASSERT_TRUE(mapped.is_ok());
  std::memset(mapped->data(), 0xFF, WritePermits::kMostOpen * 8);
  permits->close(permit);
  PermitWriter writer = permits->writer(*permits->add_writer());
  EXPECT_FALSE(writer.begin(permit));
}

TEST(WritePermits, AWriterInAnotherProcessIsSeenWhileItIsStopped) {
  const auto permits = make();
  const uint32_t number = *permits->add_writer();
  const PermitId permit = permits->open();
  const pid_t child = ::fork();
  if (child == 0) {
    auto mapped = SharedMemory::map(::dup(permits->fd()), WritePermits::kMappedBytes);
    PermitWriter writer(mapped->data(), number);
    if (!writer.begin(permit)) ::_exit(1);
    ::raise(SIGSTOP);  // in the middle of a write
    writer.end();
    ::_exit(writer.begin(permit) ? 2 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  permits->close(permit);
  EXPECT_TRUE(permits->is_used(permit));
  ::kill(child, SIGCONT);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_FALSE(permits->is_used(permit));
}

}  // namespace
}  // namespace dynamo::transfer
