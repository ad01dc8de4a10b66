#include "wire/reply.h"

#include <gtest/gtest.h>

#include "wire/messages.pb.h"

namespace dynamo::wire {
namespace {

using std::chrono::microseconds;

TEST(PrefillReply, AReportComesBackAsItWasAndSoDoesAFailure) {
  const PrefillReport sent{3, 4, 1ULL << 40, microseconds(5), microseconds(6), microseconds(7), microseconds(8), "tcp"};
  Result<PrefillReport> read;
  ASSERT_TRUE(read_prefill_reply(prefill_reply(sent), &read).is_ok());
  EXPECT_EQ(read->cached_tokens, 3U);
  EXPECT_EQ(read->blocks, 4U);
  EXPECT_EQ(read->bytes, 1ULL << 40);
  EXPECT_EQ(read->queue, microseconds(5));
  EXPECT_EQ(read->compute, microseconds(6));
  EXPECT_EQ(read->transfer, microseconds(7));
  EXPECT_EQ(read->overlap, microseconds(8));
  EXPECT_EQ(read->backend, "tcp");
  ASSERT_TRUE(read_prefill_reply(prefill_reply(exhausted("no blocks")), &read).is_ok());
  EXPECT_EQ(read.status().to_string(), exhausted("no blocks").to_string());
}

TEST(PrefillReply, WhatCannotBeReadIsCorruptAndNoTimeIsLongerThanAYear) {
  Result<PrefillReport> read;
  EXPECT_EQ(read_prefill_reply("\xFF", &read).code(), Code::kCorrupt);
  proto::PrefillReply message;
  message.set_queue_us(UINT64_MAX);
  ASSERT_TRUE(read_prefill_reply(message.SerializeAsString(), &read).is_ok());
  EXPECT_EQ(read->queue, std::chrono::hours(365 * 24));
}

TEST(RoleReply, ANameComesBackAndSoDoesAFailure) {
  EXPECT_EQ(*read_role_reply(role_reply(std::string("decode-worker-1"))), "decode-worker-1");
  EXPECT_EQ(read_role_reply(role_reply(deadline("busy"))).status().to_string(), deadline("busy").to_string());
  EXPECT_EQ(read_role_reply("\xFF").status().code(), Code::kCorrupt);
}

const std::vector<kv::BlockHash> kBlocks = {{1}, {UINT64_MAX}, {7}};
constexpr uint64_t kSum = 7;  // it wraps

TEST(Snapshot, PartsMakeTheWhole) {
  SnapshotReader reader;
  EXPECT_FALSE(*reader.take(snapshot_part(9, kv::Tier::kDevice, std::span(kBlocks).first(2))));
  EXPECT_FALSE(*reader.take(snapshot_part(9, kv::Tier::kDisk, kBlocks)));
  EXPECT_FALSE(*reader.take(snapshot_part(9, kv::Tier::kDevice, std::span(kBlocks).last(1))));
  EXPECT_TRUE(*reader.take(snapshot_end(9, kSum))) << "of the device's";
  const BlockSnapshot snapshot = std::move(reader).snapshot();
  EXPECT_EQ(snapshot.last_event, 9U);
  EXPECT_EQ(snapshot.held[kv::Tier::kDevice], kBlocks);
  EXPECT_TRUE(snapshot.held[kv::Tier::kHost].empty());
  EXPECT_EQ(snapshot.held[kv::Tier::kDisk], kBlocks);
}

TEST(Snapshot, WhoKnowsNoTiersReadsTheDevicesAloneAndUnknownOnesArePassedOver) {
  proto::BlockSnapshot part;
  ASSERT_TRUE(part.ParseFromString(snapshot_part(9, kv::Tier::kHost, kBlocks)));
  EXPECT_TRUE(part.blocks().empty());
  SnapshotReader reader;
  for (const uint32_t tier : {0U, 7U}) {  // 0 is the device's, and no lower one
    part.mutable_lower(0)->set_tier(tier);
    EXPECT_FALSE(*reader.take(part.SerializeAsString()));
  }
  EXPECT_TRUE(*reader.take(snapshot_end(9, 0)));
  for (const auto& blocks : std::move(reader).snapshot().held.all) EXPECT_TRUE(blocks.empty());
}

TEST(Snapshot, AnEmptyOneKeepsItsEvent) {
  SnapshotReader reader;
  EXPECT_TRUE(*reader.take(snapshot_end(9, 0)));
  EXPECT_EQ(std::move(reader).snapshot().last_event, 9U);
}

TEST(Snapshot, PartsThatDoNotFitAreCorrupt) {
  EXPECT_EQ(SnapshotReader().take("\xFF").status().code(), Code::kCorrupt);
  for (const auto& end : {snapshot_end(9, kSum + 1), snapshot_end(10, kSum)}) {  // a wrong sum, another time
    SnapshotReader reader;
    EXPECT_FALSE(*reader.take(snapshot_part(9, kv::Tier::kDevice, kBlocks)));
    EXPECT_EQ(reader.take(end).status().code(), Code::kCorrupt);
  }
  SnapshotReader reader;
  EXPECT_FALSE(*reader.take(snapshot_part(9, kv::Tier::kDevice, {})));
  EXPECT_EQ(reader.take(snapshot_end(10, 0)).status().code(), Code::kCorrupt) << "though it had no blocks yet";
}

}  // namespace
}  // namespace dynamo::wire
