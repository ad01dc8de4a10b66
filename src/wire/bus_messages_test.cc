#include "wire/bus_messages.h"

#include <gtest/gtest.h>

#include "wire/messages.pb.h"

namespace dynamo::wire {
namespace {

TEST(BusMessages, KvEventsComeBackAsTheyWere) {
  const KvEvents sent{7, 1ULL << 60, {{false, {{1}, {UINT64_MAX}}, {}}, {true, {}, {}}, {false, {}, {{3}}}, {}}};
  const auto read = kv_events_from_bytes(to_bytes(sent));
  ASSERT_TRUE(read.is_ok());
  EXPECT_EQ(read->instance, sent.instance);
  EXPECT_EQ(read->first_event, sent.first_event);
  ASSERT_EQ(read->changes.size(), 4U) << "an event without blocks has its number, too";
  for (size_t i = 0; i < sent.changes.size(); ++i) {
    EXPECT_EQ(read->changes[i].is_cleared, sent.changes[i].is_cleared);
    EXPECT_EQ(read->changes[i].stored, sent.changes[i].stored);
    EXPECT_EQ(read->changes[i].removed, sent.changes[i].removed);
  }
}

TEST(BusMessages, AHeartbeatComesBackAsItWas) {
  const Heartbeat sent{1, 2, 3, 4, 5, 6, true, 7, 8, 9, 10, 11.5, 12.5};
  const auto read = heartbeat_from_bytes(to_bytes(sent));
  ASSERT_TRUE(read.is_ok());
  EXPECT_EQ(read->instance, sent.instance);
  EXPECT_EQ(read->last_event, sent.last_event);
  EXPECT_EQ(read->digest, sent.digest);
  EXPECT_EQ(read->blocks, sent.blocks);
  EXPECT_EQ(read->running, sent.running);
  EXPECT_EQ(read->waiting, sent.waiting);
  EXPECT_EQ(read->is_full, sent.is_full);
  EXPECT_EQ(read->used_blocks, sent.used_blocks);
  EXPECT_EQ(read->cached_blocks, sent.cached_blocks);
  EXPECT_EQ(read->total_blocks, sent.total_blocks);
  EXPECT_EQ(read->queued_tokens, sent.queued_tokens);
  EXPECT_EQ(read->prefill_tokens_per_second, sent.prefill_tokens_per_second);
  EXPECT_EQ(read->transfer_tokens_per_second, sent.transfer_tokens_per_second);
}

TEST(BusMessages, ARoutersNoticeComesBackAsItWas) {
  for (const auto kind : {RouterNotice::Kind::kAdd, RouterNotice::Kind::kPrefillDone, RouterNotice::Kind::kFree}) {
    const auto read = router_notice_from_bytes(to_bytes(RouterNotice{1, "r", 2, kind, 3, 4, true}));
    ASSERT_TRUE(read.is_ok());
    EXPECT_EQ(read->router, 1U);
    EXPECT_EQ(read->request, "r");
    EXPECT_EQ(read->instance, 2U);
    EXPECT_EQ(read->kind, kind);
    EXPECT_EQ(read->prefill_tokens, 3U);
    EXPECT_EQ(read->decode_blocks, 4U);
    EXPECT_TRUE(read->is_prefill);
  }
}

TEST(BusMessages, WhatCannotBeReadIsCorrupt) {
  EXPECT_EQ(kv_events_from_bytes("\xFF").status().code(), Code::kCorrupt);
  EXPECT_EQ(heartbeat_from_bytes("\xFF").status().code(), Code::kCorrupt);
  EXPECT_EQ(router_notice_from_bytes("\xFF").status().code(), Code::kCorrupt);
  proto::RouterNotice notice;
  notice.set_kind(static_cast<proto::RouterNotice::Kind>(7));
  EXPECT_EQ(router_notice_from_bytes(notice.SerializeAsString()).status().code(), Code::kCorrupt);
}

}  // namespace
}  // namespace dynamo::wire
