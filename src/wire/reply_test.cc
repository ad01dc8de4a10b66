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
  EXPECT_FALSE(*reader.take(snapshot_part(9, std::span(kBlocks).first(2), std::nullopt)));
  EXPECT_TRUE(*reader.take(snapshot_part(9, std::span(kBlocks).last(1), kSum)));
  const BlockSnapshot snapshot = std::move(reader).snapshot();
  EXPECT_EQ(snapshot.last_event, 9U);
  EXPECT_EQ(snapshot.blocks, kBlocks);
}

TEST(Snapshot, AnEmptyOneKeepsItsEvent) {
  SnapshotReader reader;
  EXPECT_TRUE(*reader.take(snapshot_part(9, {}, 0)));
  EXPECT_EQ(std::move(reader).snapshot().last_event, 9U);
}

TEST(Snapshot, PartsThatDoNotFitAreCorrupt) {
  EXPECT_EQ(SnapshotReader().take("\xFF").status().code(), Code::kCorrupt);
  EXPECT_EQ(SnapshotReader().take(snapshot_part(9, kBlocks, kSum + 1)).status().code(), Code::kCorrupt);
  SnapshotReader reader;
  EXPECT_FALSE(*reader.take(snapshot_part(9, kBlocks, std::nullopt)));
  EXPECT_EQ(reader.take(snapshot_part(10, {}, kSum)).status().code(), Code::kCorrupt) << "of another time";
}

}  // namespace
}  // namespace dynamo::wire
