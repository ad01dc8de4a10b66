#include "wire/status.h"

#include <gtest/gtest.h>

#include "wire/frame.h"
#include "wire/messages.pb.h"

namespace dynamo::wire {
namespace {

TEST(FailureBytes, EveryCodeComesBackWithItsText) {
  for (const Code code : {Code::kInvalid, Code::kNotFound, Code::kExhausted, Code::kUnavailable, Code::kDeadline,
                          Code::kCancelled, Code::kCorrupt, Code::kUnsupported, Code::kInternal}) {
    const Status back = failure_from_bytes(to_bytes(Status(code, "why")));
    EXPECT_EQ(back.code(), code);
    EXPECT_EQ(back.text(), "why");
  }
}

// Such as of a request that repeats a name of 64 MiB: the frame that says so must not be larger than frames may be.
TEST(FailureBytes, ATextOfAnyLengthFitsIntoAFrame) {
  const std::string too_long(kMaxFramePayload + 1, 'x');
  std::string accents = "x";
  while (accents.size() < 2 * kMostFailureBytes) accents += "\xC3\xA9";
  EXPECT_LT(to_bytes(invalid(too_long)).size(), kMostFailureBytes + 100);
  const Status back = failure_from_bytes(to_bytes(invalid(accents)));
  ASSERT_EQ(back.code(), Code::kInvalid) << "cut within a character: " << back.to_string();
  EXPECT_EQ(back.text(), accents.substr(0, kMostFailureBytes - 3) + "...");
  proto::Failure sent;  // by a peer that does not cut
  sent.set_code("internal");
  sent.set_text(accents);
  EXPECT_LT(failure_from_bytes(sent.SerializeAsString()).text().size(), kMostFailureBytes + 1);
  sent.set_code(accents);
  EXPECT_LT(failure_from_bytes(sent.SerializeAsString()).text().size(), kMostFailureBytes + 1);
}

TEST(FailureBytes, WhatIsNoFailureIsCorrupt) {
  EXPECT_EQ(failure_from_bytes("").code(), Code::kCorrupt);
  EXPECT_EQ(failure_from_bytes("\xFF\xFF\xFF").code(), Code::kCorrupt);
  EXPECT_EQ(failure_from_bytes("\x0A\x04news").code(), Code::kInternal);
}

}  // namespace
}  // namespace dynamo::wire
