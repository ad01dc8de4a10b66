#include "transfer/pool_card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "transfer/end_metadata.h"
#include "transfer/kv_transport.h"

namespace dynamo::transfer {
namespace {

PoolCard card_of(uint32_t tp_size, uint32_t tp_rank, uint32_t total_heads = 8) {
  PoolCard card;
  card.model_digest = "sha256:abc";
  card.layout = {
      .layers = 3, .kv_heads = total_heads / tp_size, .head_dim = 4, .block_tokens = 2, .dtype = kv::KvDtype::kBF16};
  card.tp_size = tp_size;
  card.tp_rank = tp_rank;
  card.block_bytes = card.layout.block_bytes();
  card.block_count = 20;
  card.host = "boot/7";
  card.backends = {{"shm", "s"}, {"tcp", std::string("\0t", 2)}};
  return card;
}

TEST(PoolCard, IsTheSameAfterBytes) {
  const PoolCard card = card_of(2, 1);
  auto parsed = PoolCard::parse(card.to_bytes());
  ASSERT_TRUE(parsed.is_ok()) << parsed.status().to_string();
  EXPECT_EQ(*parsed, card);
}

TEST(PoolCard, BytesCutOrChangedAreCorrupt) {
  const std::string good = card_of(1, 0).to_bytes();
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_EQ(PoolCard::parse(good.substr(0, size)).status().code(), Code::kCorrupt) << size;
  for (size_t at = 0; at < good.size() * 8; ++at) {
    std::string bad = good;
    bad[at / 8] = static_cast<char>(bad[at / 8] ^ (1 << at % 8));
    EXPECT_EQ(PoolCard::parse(bad).status().code(), Code::kCorrupt) << at;
  }
}

TEST(PoolCard, FieldsThatCannotBeAreCorrupt) {
  const auto code_of = [](auto change) {
    PoolCard card = card_of(2, 1);
    change(card);
    return PoolCard::parse(card.to_bytes()).status().code();
  };
  EXPECT_EQ(code_of([](PoolCard& card) { card.tp_rank = 2; }), Code::kCorrupt);
  EXPECT_EQ(code_of([](PoolCard& card) { card.layout.layers = 0; }), Code::kCorrupt);
  EXPECT_EQ(code_of([](PoolCard& card) { card.layout.head_dim = UINT32_MAX; }), Code::kCorrupt);
  EXPECT_EQ(code_of([](PoolCard& card) { card.block_bytes += 1; }), Code::kCorrupt);
  EXPECT_EQ(code_of([](PoolCard& card) { card.block_count = UINT64_MAX; }), Code::kCorrupt);
}

TEST(PoolCard, AnotherVersionIsNamedWithOurs) {
  std::string bytes = card_of(1, 0).to_bytes();
  bytes.resize(bytes.size() - sizeof(uint64_t));
  bytes[4] = 9;
  const Status status = PoolCard::parse(with_checksum(bytes)).status();
  EXPECT_EQ(status.code(), Code::kCorrupt);
  EXPECT_NE(status.text().find("version 9"), std::string::npos) << status.text();
  EXPECT_NE(status.text().find("version 1"), std::string::npos) << status.text();
}

TEST(PoolCard, DifferencesAreRefusedWithBothValues) {
  const auto text_of = [](auto change) {
    PoolCard theirs = card_of(1, 0);
    change(theirs);
    const Status status = check_compatible(card_of(1, 0), theirs);
    EXPECT_EQ(status.code(), Code::kInvalid);
    return status.text();
  };
  EXPECT_EQ(text_of([](PoolCard& card) { card.model_digest = "sha256:def"; }),
            "model: sha256:abc here, sha256:def there");
  EXPECT_EQ(text_of([](PoolCard& card) { card.layout.layers = 5; }), "layers: 3 here, 5 there");
  EXPECT_EQ(text_of([](PoolCard& card) { card.layout.kv_heads = 4; }), "KV heads of all ranks: 8 here, 4 there");
  EXPECT_EQ(text_of([](PoolCard& card) { card.layout.head_dim = 8; }), "head_dim: 4 here, 8 there");
  EXPECT_EQ(text_of([](PoolCard& card) { card.layout.block_tokens = 16; }), "tokens of a block: 2 here, 16 there");
  EXPECT_EQ(text_of([](PoolCard& card) { card.layout.dtype = kv::KvDtype::kF16; }), "dtype: bf16 here, f16 there");
  EXPECT_EQ(text_of([](PoolCard& card) { card.block_bytes *= 2; }), "bytes of a head in a block: 96 here, 192 there");
}

TEST(PoolCard, RanksOfAnotherTensorParallelSizeAreCompatible) {
  EXPECT_TRUE(check_compatible(card_of(2, 0), card_of(1, 0)).is_ok());
  EXPECT_TRUE(check_compatible(card_of(1, 0), card_of(4, 3)).is_ok());
}

TEST(PoolCard, EqualRanksCopyWholeBlocksWithNeighboursInOne) {
  const PoolCard card = card_of(2, 1);
  const uint64_t bytes = card.block_bytes;
  const std::vector<BlockPair> pairs = {{1, 4}, {2, 5}, {3, 6}, {5, 7}, {6, 9}};
  const std::vector<Copy> copies = copies_of(card, card, pairs);
  ASSERT_EQ(copies.size(), 3u);
  EXPECT_EQ(copies[0].from, bytes);
  EXPECT_EQ(copies[0].to, 4 * bytes);
  EXPECT_EQ(copies[0].bytes, 3 * bytes);
  EXPECT_EQ(copies[1].from, 5 * bytes);
  EXPECT_EQ(copies[2].to, 9 * bytes);
}

TEST(PoolCard, RanksWithoutAHeadInCommonCopyNothing) {
  const std::vector<BlockPair> pairs = {{1, 4}};
  EXPECT_TRUE(copies_of(card_of(2, 0), card_of(2, 1), pairs).empty());
  EXPECT_TRUE(copies_of(card_of(2, 0), card_of(4, 2), pairs).empty());
}

// Every element of a pool says which it is, of all ranks together; the copies have to keep that.
TEST(PoolCard, HeadsArriveWhereTheirLayoutPutsThem) {
  constexpr uint32_t kBlocks = 20;
  const auto name_of = [](const PoolCard& card, uint32_t block, uint64_t element) {
    const uint64_t side = element / card.layout.side_elements();
    const uint64_t in_side = element % card.layout.side_elements();
    const uint64_t head = card.tp_rank * card.layout.kv_heads + in_side / card.layout.head_elements();
    return static_cast<uint16_t>(((block * 6 + side) * 8 + head) * 8 + in_side % card.layout.head_elements());
  };
  const std::vector<BlockPair> pairs = {{3, 0}, {4, 1}, {9, 17}, {0, 5}};
  const std::pair<uint32_t, uint32_t> shapes[] = {{1, 1}, {2, 1}, {1, 2}, {4, 2}, {2, 8}};
  for (const auto& [from_size, to_size] : shapes) {
    for (uint32_t to_rank = 0; to_rank < to_size; ++to_rank) {
      const PoolCard theirs = card_of(to_size, to_rank);
      std::vector<uint16_t> there(theirs.layout.block_elements() * kBlocks, 0xffff);
      for (uint32_t from_rank = 0; from_rank < from_size; ++from_rank) {
        const PoolCard mine = card_of(from_size, from_rank);
        std::vector<uint16_t> here;
        for (uint32_t block = 0; block < kBlocks; ++block) {
          for (uint64_t element = 0; element < mine.layout.block_elements(); ++element)
            here.push_back(name_of(mine, block, element));
        }
        for (const Copy& copy : copies_of(mine, theirs, pairs))
          std::copy_n(here.begin() + copy.from / 2, copy.bytes / 2, there.begin() + copy.to / 2);
      }
      for (const BlockPair& pair : pairs) {
        for (uint64_t element = 0; element < theirs.layout.block_elements(); ++element)
          ASSERT_EQ(there[pair.remote * theirs.layout.block_elements() + element], name_of(theirs, pair.local, element))
              << from_size << " to " << to_size;
      }
    }
  }
}

TEST(PoolCard, BackendsOfBothComeFastestFirst) {
  using testing::ElementsAre;
  using testing::IsEmpty;
  PoolCard mine = card_of(1, 0);
  PoolCard theirs = mine;
  EXPECT_THAT(backends_between(mine, theirs, "auto"), ElementsAre("shm", "tcp"));
  EXPECT_THAT(backends_between(mine, theirs, "tcp"), ElementsAre("tcp"));
  EXPECT_THAT(backends_between(mine, theirs, "nixl"), IsEmpty());
  theirs.host = "boot/8";
  EXPECT_THAT(backends_between(mine, theirs, "auto"), ElementsAre("tcp"));
  EXPECT_THAT(backends_between(mine, theirs, "shm"), IsEmpty());
  mine.backends["nixl"] = theirs.backends["nixl"] = "n";
  EXPECT_THAT(backends_between(mine, theirs, "auto"), ElementsAre("nixl", "tcp"));
  EXPECT_THAT(backends_between(mine, theirs, "tcp"), ElementsAre("tcp"));
  theirs.host = mine.host;
  EXPECT_THAT(backends_between(mine, theirs, "auto"), ElementsAre("shm", "nixl", "tcp"));
  theirs.backends.erase("shm");
  EXPECT_THAT(backends_between(mine, theirs, "auto"), ElementsAre("nixl", "tcp"));
  theirs.backends.clear();
  EXPECT_THAT(backends_between(mine, theirs, "auto"), IsEmpty());
}

}  // namespace
}  // namespace dynamo::transfer
