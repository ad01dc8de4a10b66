#include "wire/bus_messages.h"

#include <gtest/gtest.h>

#include "wire/messages.pb.h"

namespace dynamo::wire {
namespace {

TEST(BusMessages, KvEventsComeBackAsTheyWere) {
  KvEvents sent{7, 1ULL << 60, {}};
  for (const kv::Tier tier : kv::kAllTiers) {
    sent.changes.push_back({.tier = tier, .stored = {{1}, {UINT64_MAX}}});
    sent.changes.push_back({.tier = tier, .is_cleared = true});
    sent.changes.push_back({.tier = tier, .removed = {{3}}});
    sent.changes.push_back({.tier = tier});
  }
  const auto read = kv_events_from_bytes(to_bytes(sent));
  ASSERT_TRUE(read.is_ok());
  EXPECT_EQ(read->instance, sent.instance);
  EXPECT_EQ(read->first_event, sent.first_event);
  ASSERT_EQ(read->changes.size(), 12U) << "an event without blocks has its number, too";
  for (size_t i = 0; i < sent.changes.size(); ++i) {
    EXPECT_EQ(read->changes[i].tier, sent.changes[i].tier);
    EXPECT_EQ(read->changes[i].is_cleared, sent.changes[i].is_cleared);
    EXPECT_EQ(read->changes[i].stored, sent.changes[i].stored);
    EXPECT_EQ(read->changes[i].removed, sent.changes[i].removed);
  }
}

TEST(BusMessages, WhoKnowsNoTiersReadsTheDevicesAlone) {
  const KvChange device{.stored = {{1}}};
  const KvChange host{.tier = kv::Tier::kHost, .is_cleared = true, .stored = {{2}, {3}}, .removed = {{4}}};
  proto::KvEvents message;
  ASSERT_TRUE(message.ParseFromString(to_bytes(KvEvents{7, 1, {device, host}})));
  ASSERT_EQ(message.events_size(), 2);
  EXPECT_FALSE(message.events(0).has_lower());
  const proto::KvChange& lower = message.events(1);
  EXPECT_TRUE(lower.stored().empty() && lower.removed().empty() && !lower.is_cleared());
  EXPECT_EQ(lower.lower().tier(), 1U);
  EXPECT_EQ(lower.lower().change().stored_size(), 2);
}

TEST(BusMessages, AChangeOfAnUnknownTierKeepsItsNumberAndChangesNothing) {
  proto::KvEvents message;
  for (const uint32_t tier : {7U, 0U}) {  // 0 is the device's, and no lower one
    proto::TierChange& lower = *message.add_events()->mutable_lower();
    lower.set_tier(tier);
    lower.mutable_change()->add_stored(1);
    lower.mutable_change()->add_removed(2);
    lower.mutable_change()->set_is_cleared(true);
  }
  message.add_events()->add_stored(3);
  const auto read = kv_events_from_bytes(message.SerializeAsString());
  ASSERT_TRUE(read.is_ok());
  ASSERT_EQ(read->changes.size(), 3U);
  for (const size_t i : {0, 1}) {
    EXPECT_EQ(read->changes[i].tier, kv::Tier::kDevice);
    EXPECT_FALSE(read->changes[i].is_cleared);
    EXPECT_TRUE(read->changes[i].stored.empty() && read->changes[i].removed.empty());
  }
  EXPECT_EQ(read->changes[2].stored, std::vector<kv::BlockHash>{{3}});
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
