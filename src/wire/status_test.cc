#include "wire/status.h"

#include <gtest/gtest.h>

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

TEST(FailureBytes, WhatIsNoFailureIsCorrupt) {
  EXPECT_EQ(failure_from_bytes("").code(), Code::kCorrupt);
  EXPECT_EQ(failure_from_bytes("\xFF\xFF\xFF").code(), Code::kCorrupt);
  EXPECT_EQ(failure_from_bytes("\x0A\x04news").code(), Code::kInternal);
}

}  // namespace
}  // namespace dynamo::wire
