#include "wire/handoff_notice.h"

#include <gtest/gtest.h>

namespace dynamo::wire {
namespace {

TEST(HandoffNotice, ComesBackAsItWas) {
  using Kind = HandoffNotice::Kind;
  for (const Kind kind : {Kind::kBlocks, Kind::kWaiting, Kind::kClosed}) {
    const auto read = handoff_notice_from_bytes(to_bytes(HandoffNotice{5, kind, 6, 7, "a chunk\xFF"}));
    ASSERT_TRUE(read.is_ok());
    EXPECT_EQ(read->room, 5U);
    EXPECT_EQ(read->kind, kind);
    EXPECT_EQ(read->first_block, 6U);
    EXPECT_EQ(read->computed, 7U);
    EXPECT_EQ(read->first_token, "a chunk\xFF");
  }
}

TEST(HandoffNotice, BytesThatAreNoneAreCorrupt) {
  EXPECT_EQ(handoff_notice_from_bytes("\xFF").status().code(), Code::kCorrupt);
}

}  // namespace
}  // namespace dynamo::wire
