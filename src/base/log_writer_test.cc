#include "base/log_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo::log {
namespace {

std::string note(uint64_t lines) {
  return fmt::format("dropped {}\n", lines);
}

// A pipe with room for one page.
struct Pipe {
  int read = -1;
  int write = -1;

  Pipe() {
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    read = ends[0];
    write = ends[1];
    fcntl(write, F_SETPIPE_SZ, 4096);
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  void close_read() {
    if (read >= 0) close(std::exchange(read, -1));
  }
  void close_write() {
    if (write >= 0) close(std::exchange(write, -1));
  }
};

// All that comes until the last writer closes.
std::string read_all(int fd) {
  std::string all;
  char bytes[4096];
  for (ssize_t count; (count = read(fd, bytes, sizeof(bytes))) > 0;) all.append(bytes, static_cast<size_t>(count));
  return all;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Writes all that `push` pushed to a pipe that is read from then on. Returns: what came.
template <class Push>
std::vector<std::string> lines_after(const Push& push, size_t most_bytes) {
  Pipe pipe;
  auto writer = std::make_unique<LogWriter>(pipe.write, note, most_bytes);
  push(writer.get());
  std::string all;
  std::thread reader([&] { all = read_all(pipe.read); });
  writer.reset();
  pipe.close_write();
  reader.join();
  return lines_of(all);
}

TEST(LogWriter, APusherNeverWaitsForAReaderAndLostLinesAreCounted) {
  constexpr uint64_t kLines = 10'000;
  uint64_t dropped = 0;
  const auto lines = lines_after(
      [&](LogWriter* writer) {
        std::thread logging([&] {  // ends although the pipe stays full
          for (uint64_t i = 0; i < kLines; ++i) writer->push(fmt::format("line {}\n", i));
        });
        logging.join();
        dropped = writer->dropped();
      },
      /*most_bytes=*/65536);
  EXPECT_GT(dropped, 0U);
  uint64_t next = 0;
  uint64_t said = 0;
  for (const std::string& line : lines) {
    if (uint64_t count = 0; sscanf(line.c_str(), "dropped %lu", &count) == 1) {
      said += count;
      next += count;
    } else {
      ASSERT_EQ(line, fmt::format("line {}", next));
      ++next;
    }
  }
  EXPECT_EQ(said, dropped);
  EXPECT_EQ(next, kLines);
}

TEST(LogWriter, KeepsTheOrderOfSeveralThreadsLines) {
  constexpr int kThreads = 4;
  constexpr int kLines = 1000;
  const auto lines = lines_after(
      [](LogWriter* writer) {
        std::vector<std::thread> threads;
        for (int thread = 0; thread < kThreads; ++thread)
          threads.emplace_back([=] {
            for (int i = 0; i < kLines; ++i) writer->push(fmt::format("{} {}\n", thread, i));
          });
        for (std::thread& thread : threads) thread.join();
      },
      LogWriter::kMostBytes);
  ASSERT_EQ(lines.size(), size_t{kThreads * kLines});
  std::vector<int> next(kThreads, 0);
  for (const std::string& line : lines) {
    int thread = -1;
    int i = -1;
    ASSERT_EQ(sscanf(line.c_str(), "%d %d", &thread, &i), 2) << line;
    EXPECT_EQ(i, next.at(static_cast<size_t>(thread))++);
  }
}

TEST(LogWriter, FlushGivesUpOnAPipeThatNobodyReads) {
  const auto lines = lines_after(
      [](LogWriter* writer) {
        for (int i = 0; i < 1000; ++i) writer->push(fmt::format("line {}\n", i));
        EXPECT_FALSE(writer->flush(Clock::steady().now() + std::chrono::milliseconds(20)));
      },
      LogWriter::kMostBytes);
  EXPECT_EQ(lines.size(), 1000U);
}

TEST(LogWriter, GoesOnWithoutItsReaderAndSaysWhatWasLostToTheNextOne) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("log_writer_test.{}", getpid());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  int reader = open(path.c_str(), O_RDONLY | O_NONBLOCK);
  const int fd = open(path.c_str(), O_WRONLY);
  {
    LogWriter writer(fd, note);
    const auto flush = [&] { return writer.flush(Clock::steady().now() + std::chrono::minutes(1)); };
    writer.push("read\n");
    ASSERT_TRUE(flush());
    char bytes[16];
    EXPECT_EQ(read(reader, bytes, sizeof(bytes)), 5);
    close(reader);
    for (int i = 0; i < 3; ++i) {
      writer.push("lost\n");
      ASSERT_TRUE(flush());
    }
    EXPECT_EQ(writer.dropped(), 3U);
    reader = open(path.c_str(), O_RDONLY | O_NONBLOCK);
    writer.push("read again\n");
  }
  close(fd);
  EXPECT_EQ(read_all(reader), "dropped 3\nread again\n");
  close(reader);
  std::filesystem::remove(path);
}

TEST(LogWriter, ALineThatBreaksOffDoesNotSpoilTheNext) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("log_writer_test.{}", getpid());
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ASSERT_GE(fd, 0);
  rlimit usual{};
  getrlimit(RLIMIT_FSIZE, &usual);
  {
    LogWriter writer(fd, note);
    const rlimit full{15, usual.rlim_max};  // as a full disk
    setrlimit(RLIMIT_FSIZE, &full);
    for (int i = 0; i < 3; ++i) {
      writer.push("0123456789\n");
      EXPECT_TRUE(writer.flush(Clock::steady().now() + std::chrono::minutes(1)));
    }
    setrlimit(RLIMIT_FSIZE, &usual);
    writer.push("next\n");
  }
  close(fd);
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), "0123456789\n0123\ndropped 2\nnext\n");
  std::filesystem::remove(path);
}

TEST(LogWriter, WaitsForRoomWhereAPipeIsNonBlocking) {
  Pipe pipe;
  fcntl(pipe.write, F_SETFL, O_NONBLOCK);
  std::string all;
  auto writer = std::make_unique<LogWriter>(pipe.write, note);
  for (int i = 0; i < 1000; ++i) writer->push("0123456789\n");
  std::thread reader([&] { all = read_all(pipe.read); });
  writer.reset();
  pipe.close_write();
  reader.join();
  EXPECT_EQ(all.size(), 11'000U);
}

}  // namespace
}  // namespace dynamo::log
