#include "wire/frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace dynamo::wire {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

struct Sent {
  FrameType type;
  uint32_t stream;
  std::string payload;
  bool operator==(const Sent&) const = default;
};

// Everything that the reader gives of `stream`, and how it ends; cut into pieces of at most `longest` bytes.
std::pair<std::vector<Sent>, Status> read_cut(std::string_view stream, size_t longest, std::mt19937* random,
                                              uint32_t max_payload = kMaxFramePayload) {
  FrameReader reader(max_payload);
  std::vector<Sent> received;
  for (size_t at = 0; at < stream.size();) {
    const size_t piece = std::min<size_t>(1 + (*random)() % longest, stream.size() - at);
    reader.push(bytes_of(stream.substr(at, piece)));
    at += piece;
    for (;;) {
      const auto frame = reader.next();
      if (!frame.is_ok()) return {received, frame.status()};
      if (!*frame) break;
      received.push_back({(*frame)->type, (*frame)->stream, std::string((*frame)->payload)});
    }
  }
  return {received, Status()};
}

TEST(Frame, AStreamCutAnywhereGivesTheFramesThatWereSent) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<Sent> sent;
    std::string stream;
    for (int i = 0; i < 20; ++i) {
      Sent frame{static_cast<FrameType>(1 + random() % 9), static_cast<uint32_t>(random()),
                 std::string(random() % 300, 'x')};
      for (char& c : frame.payload) c = static_cast<char>(random());
      append_frame(frame.type, frame.stream, frame.payload, &stream);
      sent.push_back(std::move(frame));
    }
    const auto [received, end] = read_cut(stream, /*longest=*/round % 4 == 0 ? 1 : 400, &random);
    ASSERT_TRUE(end.is_ok());
    ASSERT_EQ(received, sent);
  }
}

TEST(Frame, FramesBeforeAMalformedOneAreGivenAndNoneAfterWhateverTheCuts) {
  std::mt19937 random(8);
  for (int round = 0; round < 300; ++round) {
    std::string stream;
    std::vector<Sent> before;
    const uint32_t bad = random() % 10;
    for (uint32_t i = 0; i < 10; ++i) {
      const std::string payload(random() % 50, static_cast<char>(i));
      const size_t start = stream.size();
      append_frame(FrameType::kChunk, i, payload, &stream);
      if (i < bad) before.push_back({FrameType::kChunk, i, payload});
      if (i != bad) continue;
      switch (random() % 4) {
        case 0:
          stream[start + 3] = '\1';  // 16 MiB more
          break;
        case 1:
          stream[start + 4] = static_cast<char>(random() % 2 == 0 ? 0 : 10 + random() % 246);
          break;
        case 2:
          stream[start + 5] = static_cast<char>(1 + random() % 255);
          break;
        default:
          stream[start + 6 + random() % 2] = static_cast<char>(1 + random() % 255);
      }
    }
    const auto [received, end] = read_cut(stream, /*longest=*/round % 2 == 0 ? 1 : 100, &random, /*max_payload=*/1000);
    ASSERT_EQ(received, before) << round;
    ASSERT_EQ(end.code(), Code::kCorrupt) << round;
  }
}

TEST(Frame, ThePayloadMayBeAsLongAsTheLimitAndNotAByteLonger) {
  std::mt19937 random(9);
  std::string stream;
  const Sent longest{FrameType::kChunk, 1, std::string(1000, 'x')};
  append_frame(longest.type, longest.stream, longest.payload, &stream);
  EXPECT_EQ(read_cut(stream, 1, &random, 1000).first, std::vector<Sent>{longest});
  const auto [received, end] = read_cut(stream, 1, &random, 999);
  EXPECT_TRUE(received.empty());
  EXPECT_EQ(end.code(), Code::kCorrupt);
}

TEST(Frame, AStreamThatEndsWithinAFrameGivesTheWholeOnesAndNoError) {
  std::mt19937 random(10);
  std::string stream;
  std::vector<size_t> ends;
  for (uint32_t i = 0; i < 5; ++i) {
    append_frame(FrameType::kChunk, i, std::string(i * 7, 'x'), &stream);
    ends.push_back(stream.size());
  }
  for (size_t length = 0; length <= stream.size(); ++length) {
    const auto [received, end] = read_cut(std::string_view(stream).substr(0, length), 20, &random);
    EXPECT_TRUE(end.is_ok());
    EXPECT_EQ(std::ssize(received), std::ranges::count_if(ends, [&](size_t one) { return one <= length; }));
  }
}

struct BadFrame {
  std::string bytes;
  const char* said;
};
class BadFrameTest : public testing::TestWithParam<BadFrame> {};

TEST_P(BadFrameTest, EndsTheReaderWithAReason) {
  FrameReader reader(/*max_payload=*/100);
  reader.push(bytes_of(GetParam().bytes));
  for (int i = 0; i < 2; ++i) {
    const auto frame = reader.next();
    EXPECT_EQ(frame.status().code(), Code::kCorrupt);
    EXPECT_NE(frame.status().text().find(GetParam().said), std::string::npos) << frame.status().text();
  }
}

INSTANTIATE_TEST_SUITE_P(All, BadFrameTest,
                         testing::Values(BadFrame{std::string("\x65\0\0\0\x01\0\0\0\0\0\0\0", 12), "101 bytes"},
                                         BadFrame{std::string("\xff\xff\xff\xff\x01\0\0\0\0\0\0\0", 12), "4294967295"},
                                         BadFrame{std::string("\0\0\0\0\0\0\0\0\0\0\0\0", 12), "type 0"},
                                         BadFrame{std::string("\0\0\0\0\x0a\0\0\0\0\0\0\0", 12), "type 10"},
                                         BadFrame{std::string("\0\0\0\0\x01\x01\0\0\0\0\0\0", 12), "reserved"},
                                         BadFrame{std::string("\0\0\0\0\x01\0\0\x80\0\0\0\0", 12), "reserved"}));

}  // namespace
}  // namespace dynamo::wire
