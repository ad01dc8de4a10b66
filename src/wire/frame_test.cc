#include "wire/frame.h"

#include <gtest/gtest.h>

#include <random>

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
    FrameReader reader;
    std::vector<Sent> received;
    for (size_t at = 0; at < stream.size();) {
      const size_t piece = std::min<size_t>(1 + random() % 400, stream.size() - at);
      reader.push(bytes_of(std::string_view(stream).substr(at, piece)));
      at += piece;
      while (auto frame = reader.next().value())
        received.push_back({frame->type, frame->stream, std::string(frame->payload)});
    }
    ASSERT_EQ(received, sent);
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
