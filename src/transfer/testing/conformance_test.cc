#include "transfer/testing/conformance.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <semaphore>
#include <set>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/testing/patience.h"
#include "transfer/pool_card.h"
#include "transfer/testing/child_end.h"
#include "transfer/write_permits.h"

namespace dynamo::transfer {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr uint64_t kBlock = 8192;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kKeepsFreedMemory = true;
#else
constexpr bool kKeepsFreedMemory = false;
#endif

std::vector<uint64_t> shuffled(uint64_t count, std::mt19937_64* random) {
  std::vector<uint64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0);
  std::ranges::shuffle(numbers, *random);
  return numbers;
}

size_t open_fds() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

size_t resident_bytes() {
  size_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * 4096;
}

// Sends `count` random blocks in puts of `chunk` blocks, and looks at all of the receiver's pool afterwards.
void send_random_blocks(const Backend& backend, uint64_t count, uint64_t chunk) {
  constexpr uint64_t kPoolBlocks = 1100;
  std::mt19937_64 random(count);
  End sender(backend, kPoolBlocks * kBlock, "sender");
  End receiver(backend, kPoolBlocks * kBlock, "receiver");
  const PeerId peer = sender.add(receiver);
  for (uint64_t block = 0; block < kPoolBlocks; ++block) fill(sender.data() + block * kBlock, kBlock, block);
  const std::vector<uint64_t> from = shuffled(kPoolBlocks, &random);
  const std::vector<uint64_t> to = shuffled(kPoolBlocks, &random);
  std::vector<PutId> puts;
  for (uint64_t first = 0; first < count; first += chunk) {
    std::vector<Copy> copies;
    for (uint64_t at = first; at < std::min(count, first + chunk); ++at)
      copies.push_back({from[at] * kBlock, to[at] * kBlock, kBlock});
    puts.push_back(sender.put(peer, copies, fmt::format("chunk {}", first)));
  }
  ASSERT_TRUE(drive({&sender, &receiver}, [&] {
    return sender.finished.size() == puts.size() && receiver.notifications.size() == puts.size();
  }));
  for (const PutId put : puts) EXPECT_TRUE(sender.how(put).is_ok()) << sender.how(put).to_string();
  for (uint64_t at = 0; at < kPoolBlocks; ++at) {
    const std::byte* block = receiver.data() + to[at] * kBlock;
    if (at < count) {
      EXPECT_TRUE(holds(block, kBlock, from[at])) << "block " << at << " of " << count;
    } else {
      EXPECT_TRUE(std::all_of(block, block + kBlock, [](std::byte byte) { return byte == std::byte{0}; }));
    }
  }
}

// Sends blocks of `from_size` prefill ranks to `to_size` decode ranks, and looks for every head at its place.
void send_heads(const Backend& backend, uint32_t from_size, uint32_t to_size) {
  constexpr uint32_t kHeads = 4;
  constexpr uint32_t kBlocks = 40;
  const auto card_of = [](uint32_t size, uint32_t rank) {
    PoolCard card;
    card.layout = {.layers = 6, .kv_heads = kHeads / size, .head_dim = 32, .block_tokens = 16};
    card.tp_size = size;
    card.tp_rank = rank;
    card.block_bytes = card.layout.block_bytes();
    card.block_count = kBlocks;
    return card;
  };
  // Calls `visit` with where each head lies, and a number that is the same on every rank.
  const auto for_each_head = [](const PoolCard& card, uint32_t block, uint32_t name, std::byte* pool,
                                const auto& visit) {
    const size_t bytes = card.layout.head_elements() * kv::bytes_of(card.layout.dtype);
    for (size_t head = 0; head < card.block_bytes / bytes; ++head) {
      const size_t side = head / card.layout.kv_heads;
      const size_t of_all = card.tp_rank * card.layout.kv_heads + head % card.layout.kv_heads;
      visit(pool + block * card.block_bytes + head * bytes, bytes, (name * 100 + side) * kHeads + of_all);
    }
  };
  std::mt19937_64 random(from_size * 10 + to_size);
  const std::vector<uint64_t> to = shuffled(kBlocks, &random);
  std::vector<BlockPair> pairs;
  for (uint32_t block = 0; block < kBlocks; block += 2) pairs.push_back({block, static_cast<uint32_t>(to[block])});
  std::vector<std::unique_ptr<End>> prefill, decode;
  std::vector<End*> all;
  for (uint32_t rank = 0; rank < to_size; ++rank) {
    const PoolCard card = card_of(to_size, rank);
    decode.push_back(std::make_unique<End>(backend, kBlocks * card.block_bytes, fmt::format("decode-{}", rank)));
    all.push_back(decode.back().get());
  }
  for (uint32_t rank = 0; rank < from_size; ++rank) {
    const PoolCard mine = card_of(from_size, rank);
    prefill.push_back(std::make_unique<End>(backend, kBlocks * mine.block_bytes, fmt::format("prefill-{}", rank)));
    End& end = *prefill.back();
    all.push_back(&end);
    for (uint32_t block = 0; block < kBlocks; ++block) for_each_head(mine, block, block, end.data(), fill);
    for (uint32_t to_rank = 0; to_rank < to_size; ++to_rank)
      end.put(end.add(*decode[to_rank]), copies_of(mine, card_of(to_size, to_rank), pairs), "heads");
  }
  ASSERT_TRUE(drive(all, [&] {
    return std::ranges::all_of(decode, [&](const auto& end) { return end->notifications.size() == from_size; });
  }));
  for (uint32_t rank = 0; rank < to_size; ++rank) {
    for (const BlockPair& pair : pairs) {
      for_each_head(card_of(to_size, rank), pair.remote, pair.local, decode[rank]->data(),
                    [&](std::byte* head, size_t bytes, uint64_t seed) {
                      EXPECT_TRUE(holds(head, bytes, seed))
                          << from_size << " to " << to_size << " block " << pair.local;
                    });
    }
  }
}

}  // namespace

TEST_P(Conformance, DISABLED_ServesAChildEnd) {
  if (!is_child_end()) GTEST_SKIP() << "it is started by ChildEnd";
  serve_child_end(GetParam());
}

TEST_P(Conformance, RandomBlocksArriveWhole) {
  for (const uint64_t count : {1, 257, 1024}) send_random_blocks(GetParam(), count, count);
}

TEST_P(Conformance, RandomBlocksArriveInChunks) {
  for (const uint64_t count : {257, 1024}) send_random_blocks(GetParam(), count, /*chunk=*/64);
}

TEST_P(Conformance, ANotificationIsNeverSeenBeforeItsData) {
  constexpr uint64_t kRounds = 300;
  constexpr uint64_t kBlocks = 16;
  End sender(GetParam(), kBlocks * kBlock, "sender");
  End receiver(GetParam(), kBlocks * kBlock, "receiver");
  const PeerId there = sender.add(receiver);
  const PeerId back = receiver.add(sender);
  std::thread receiving([&] {
    uint64_t rounds = 0;
    const Time until = soon();
    while (rounds < kRounds && Clock::steady().now() < until) {
      receiver.poll(Clock::steady().now() + milliseconds(10));
      for (const std::string& notification : std::exchange(receiver.notifications, {})) {
        const uint64_t round = std::stoull(notification);
        bool is_whole = true;
        for (uint64_t block = 0; block < kBlocks; ++block)
          is_whole = is_whole && holds(receiver.data() + block * kBlock, kBlock, round * kBlocks + kBlocks - 1 - block);
        EXPECT_TRUE(is_whole) << "round " << round;
        receiver.put(back, {}, notification);
        ++rounds;
      }
    }
    drive({&receiver}, [&] { return receiver.finished.size() == rounds; });
    EXPECT_EQ(rounds, kRounds);
  });
  for (uint64_t round = 0; round < kRounds; ++round) {
    std::vector<Copy> copies;
    for (uint64_t block = 0; block < kBlocks; ++block) {
      fill(sender.data() + block * kBlock, kBlock, round * kBlocks + block);
      copies.push_back({block * kBlock, (kBlocks - 1 - block) * kBlock, kBlock});
    }
    const PutId put = sender.put(there, copies, std::to_string(round));
    EXPECT_TRUE(drive({&sender}, [&] { return sender.has_finished(put) && sender.notifications.size() == round + 1; }));
    if (testing::Test::HasFailure()) break;
  }
  receiving.join();
}

TEST_P(Conformance, ManySmallPiecesArrive) {
  constexpr uint64_t kPieces = 20'000;
  constexpr uint64_t kPiece = 200;
  End sender(GetParam(), kPieces * kPiece, "sender");
  End receiver(GetParam(), kPieces * kPiece * 2, "receiver");
  fill(sender.data(), kPieces * kPiece, 7);
  std::vector<Copy> copies;
  for (uint64_t piece = 0; piece < kPieces; ++piece)
    copies.push_back({piece * kPiece, piece * kPiece * 2, piece % 5 == 0 ? 0 : kPiece});
  sender.put(sender.add(receiver), copies, "");
  ASSERT_TRUE(
      drive({&sender, &receiver}, [&] { return receiver.notifications.size() == 1 && sender.finished.size() == 1; }));
  const std::vector<std::byte> zeros(kPiece);
  for (uint64_t piece = 0; piece < kPieces; ++piece) {
    const std::byte* expected = piece % 5 == 0 ? zeros.data() : sender.data() + piece * kPiece;
    ASSERT_EQ(std::memcmp(receiver.data() + piece * kPiece * 2, expected, kPiece), 0) << piece;
  }
}

TEST_P(Conformance, HeadsGoBetweenRanksOfEqualAndOtherSizes) {
  send_heads(GetParam(), 1, 1);
  send_heads(GetParam(), 2, 1);
  send_heads(GetParam(), 1, 2);
  send_heads(GetParam(), 4, 2);
}

TEST_P(Conformance, ACancelledPutFinishesOnceAndIsNotNotified) {
  constexpr uint64_t kBytes = 64U << 20;
  End sender(GetParam(), kBytes, "sender");
  End receiver(GetParam(), kBytes, "receiver");
  const PeerId peer = sender.add(receiver);
  for (const int polls : {0, 1, 5, 20}) {
    const PutId big = sender.put(peer, {{0, 0, kBytes}}, "big");
    for (int poll = 0; poll < polls; ++poll) drive({&sender, &receiver}, [once = 0]() mutable { return once++ > 0; });
    sender.transport().cancel(big);
    sender.transport().cancel(big);
    const PutId next = sender.put(peer, {{0, 0, kBlock}}, "next");
    ASSERT_TRUE(drive({&sender, &receiver}, [&] {
      return sender.has_finished(big) && sender.has_finished(next) &&
             std::ranges::count(receiver.notifications, "next") > 0;
    }));
    EXPECT_TRUE(sender.how(next).is_ok());
    EXPECT_TRUE(sender.how(big).is_ok() || sender.how(big).code() == Code::kCancelled) << sender.how(big).to_string();
    if (polls == 0) {
      EXPECT_EQ(sender.how(big).code(), Code::kCancelled);
    }
    EXPECT_EQ(std::ranges::count(receiver.notifications, "big"), sender.how(big).is_ok() ? 1 : 0);
    receiver.notifications.clear();
  }
  sender.transport().cancel(987654);
}

// Who cancels may give the peer's blocks to something else as soon as the put has finished.
TEST_P(Conformance, NothingOfACancelledPutLandsAfterItsEnd) {
  constexpr uint64_t kBytes = 64U << 20;
  End sender(GetParam(), kBytes, "sender");
  End receiver(GetParam(), kBytes, "receiver");
  const PeerId peer = sender.add(receiver);
  for (const int polls : {1, 3, 10}) {
    std::ranges::fill(std::span(sender.data(), kBytes), std::byte{1});
    const PutId big = sender.put(peer, {{0, 0, kBytes}}, "big");
    for (int poll = 0; poll < polls; ++poll) drive({&sender, &receiver}, [once = 0]() mutable { return once++ > 0; });
    sender.transport().cancel(big);
    ASSERT_TRUE(drive({&sender, &receiver}, [&] { return sender.has_finished(big); }));
    std::ranges::fill(std::span(receiver.data(), kBytes), std::byte{2});
    const Time until = Clock::steady().now() + milliseconds(100);
    drive({&sender, &receiver}, [&] { return Clock::steady().now() > until; });
    EXPECT_TRUE(std::ranges::all_of(std::span(receiver.data(), kBytes), [](std::byte one) {
      return one == std::byte{2};
    })) << polls;
  }
}

// A receiver with permits, and what fills its pool when nobody may write there.
class Guarded {
 public:
  explicit Guarded(const Backend& backend)
      : permits(std::move(WritePermits::create()).value()),
        end(backend, kBytes, "guarded", seconds(5), permits.get()) {}
  bool is_kept() { return end.transport().keeps_permits(); }
  void close(PermitId permit) {
    permits->close(permit);
    ASSERT_TRUE(drive({&end}, [&] { return !permits->is_used(permit); }));
    std::ranges::fill(std::span(end.data(), kBytes), std::byte{2});
  }
  bool is_untouched() {
    return std::ranges::all_of(std::span(end.data(), kBytes), [](std::byte one) { return one == std::byte{2}; });
  }

  static constexpr uint64_t kBytes = 32U << 20;
  const std::unique_ptr<WritePermits> permits;
  End end;
};

TEST_P(Conformance, NothingLandsUnderAPermitThatIsClosed) {
  Guarded receiver(GetParam());
  if (!receiver.is_kept()) GTEST_SKIP() << GetParam().name << " keeps no permits";
  End sender(GetParam(), Guarded::kBytes, "sender");
  std::ranges::fill(std::span(sender.data(), Guarded::kBytes), std::byte{1});
  const PeerId peer = sender.add(receiver.end);
  for (const int polls : {0, 1, 3, 10, 30}) {
    const PermitId permit = receiver.permits->open();
    const PermitId other = receiver.permits->open();
    const PutId big = sender.put(peer, {{0, 0, Guarded::kBytes}}, "big", permit);
    for (int poll = 0; poll < polls; ++poll)
      drive({&sender, &receiver.end}, [once = 0]() mutable { return once++ > 0; });
    receiver.close(permit);
    ASSERT_TRUE(drive({&sender, &receiver.end}, [&] { return sender.has_finished(big); }));
    EXPECT_TRUE(receiver.is_untouched()) << polls;
    EXPECT_TRUE(sender.how(big).is_ok() || sender.how(big).code() == Code::kCancelled) << sender.how(big).to_string();
    // Others are not disturbed.
    const PutId next = sender.put(peer, {{0, 0, kBlock}}, "next", other);
    ASSERT_TRUE(drive({&sender, &receiver.end}, [&] {
      return sender.has_finished(next) && std::ranges::count(receiver.end.notifications, "next") > 0;
    }));
    EXPECT_EQ(receiver.end.data()[kBlock - 1], std::byte{1});
    receiver.end.notifications.clear();
    receiver.permits->close(other);
  }
}

TEST_P(Conformance, WithoutAPermitNothingLands) {
  Guarded receiver(GetParam());
  if (!receiver.is_kept()) GTEST_SKIP() << GetParam().name << " keeps no permits";
  End sender(GetParam(), Guarded::kBytes, "sender");
  const PeerId peer = sender.add(receiver.end);
  const PermitId permit = receiver.permits->open();
  std::ranges::fill(std::span(receiver.end.data(), Guarded::kBytes), std::byte{2});
  for (const PermitId made_up : {kNoPermit, permit + WritePermits::kMostOpen, permit + 1}) {
    const PutId put = sender.put(peer, {{0, 0, kBlock}}, "made up", made_up);
    ASSERT_TRUE(drive({&sender, &receiver.end}, [&] { return sender.has_finished(put); }));
  }
  EXPECT_TRUE(receiver.is_untouched());
  const PutId alone = sender.put(peer, {}, "no data");
  ASSERT_TRUE(drive({&sender, &receiver.end}, [&] { return sender.has_finished(alone); }));
  EXPECT_TRUE(sender.how(alone).is_ok());
}

TEST_P(Conformance, AStoppedSenderIsWaitedForUntilItGoesOnOrIsKilled) {
  Guarded receiver(GetParam());
  if (!receiver.is_kept()) GTEST_SKIP() << GetParam().name << " keeps no permits";
  for (const bool is_killed : {false, true}) {
    for (int life = 0; life < 3; ++life) {
      ChildEnd pouring(GetParam(), Guarded::kBytes, &receiver.end);
      const PermitId permit = receiver.permits->open();
      receiver.end.notifications.clear();
      receiver.end.put(pouring.peer(), {}, fmt::format("pour {} {}", Guarded::kBytes, permit));
      ASSERT_TRUE(drive({&receiver.end}, [&] { return receiver.end.notifications.size() > 2; }));
      pouring.hang();  // most of the time in the middle of a copy
      receiver.permits->close(permit);
      if (is_killed) {
        pouring.kill();
      } else if (!receiver.permits->is_used(permit)) {
        std::ranges::fill(std::span(receiver.end.data(), Guarded::kBytes), std::byte{2});
        pouring.resume();
        const Time until = Clock::steady().now() + milliseconds(50);
        drive({&receiver.end}, [&] { return Clock::steady().now() > until; });
        EXPECT_TRUE(receiver.is_untouched());
      } else {
        pouring.resume();
      }
      ASSERT_TRUE(drive({&receiver.end}, [&] { return !receiver.permits->is_used(permit); }));
      receiver.end.transport().drop_peer(pouring.peer());
    }
  }
}

TEST_P(Conformance, APeerThatIsDroppedAndAddedAgainWorks) {
  End sender(GetParam(), 1U << 20, "sender");
  End receiver(GetParam(), 1U << 20, "receiver");
  std::set<PeerId> peers;
  for (uint64_t round = 0; round < 20; ++round) {
    const PeerId peer = sender.add(receiver);
    EXPECT_TRUE(peers.insert(peer).second) << "a PeerId was used again";
    fill(sender.data(), kBlock, round);
    const PutId put = sender.put(peer, {{0, kBlock, kBlock}}, "here");
    ASSERT_TRUE(drive({&sender, &receiver},
                      [&] { return sender.has_finished(put) && receiver.notifications.size() == round + 1; }));
    EXPECT_TRUE(holds(receiver.data() + kBlock, kBlock, round));
    const PutId dropped = sender.put(peer, {{0, 2 * kBlock, kBlock}}, std::string(kMostNotificationBytes, 'x'));
    sender.transport().drop_peer(peer);
    ASSERT_TRUE(drive({&sender}, [&] { return sender.has_finished(dropped); }));
    EXPECT_EQ(sender.how(dropped).code(), Code::kCancelled);
    const Status after = sender.transport().put(peer, {}, "").status();
    EXPECT_EQ(after.code(), Code::kNotFound);
  }
  sender.transport().drop_peer(987654);
}

TEST_P(Conformance, TenThousandHandoffsLeaveNothingBehind) {
  End prefill(GetParam(), 64 * kBlock, "prefill");
  End decode(GetParam(), 64 * kBlock, "decode");
  size_t fds = 0;
  size_t resident = 0;
  PeerId peer = prefill.add(decode);
  for (uint64_t handoff = 0; handoff < 10'500; ++handoff) {
    if (handoff % 50 == 49) {
      prefill.transport().drop_peer(peer);
      peer = prefill.add(decode);
    }
    const PutId put = prefill.put(peer, {{0, (handoff % 64) * kBlock, kBlock}}, std::to_string(handoff));
    ASSERT_TRUE(drive({&prefill, &decode}, [&] { return prefill.has_finished(put) && !decode.notifications.empty(); }));
    ASSERT_EQ(decode.notifications, std::vector{std::to_string(handoff)});
    prefill.finished.clear();
    decode.notifications.clear();
    if (handoff == 510) {
      fds = open_fds();
      resident = resident_bytes();
    }
    if (handoff == 10'460) {
      EXPECT_LE(open_fds(), fds + 4) << "a dropped peer's may still be open at the other end";
    }
  }
  if (!kKeepsFreedMemory) {
    EXPECT_LE(resident_bytes(), resident + (4U << 20));
  }
}

TEST_P(Conformance, SeveralPeersSendAndReceiveAtOnce) {
  constexpr size_t kEnds = 5;
  constexpr uint64_t kPart = 4U << 20;
  std::vector<std::unique_ptr<End>> ends;
  std::vector<End*> all;
  for (size_t end = 0; end < kEnds; ++end) {
    ends.push_back(std::make_unique<End>(GetParam(), (kEnds + 1) * kPart, fmt::format("end-{}", end)));
    all.push_back(ends.back().get());
    fill(all[end]->data() + kEnds * kPart, kPart, end);
  }
  for (size_t from = 0; from < kEnds; ++from) {
    for (size_t to = 0; to < kEnds; ++to) {
      if (from != to)
        all[from]->put(all[from]->add(*all[to]), {{kEnds * kPart, from * kPart, kPart}}, std::to_string(from));
    }
  }
  ASSERT_TRUE(drive(all, [&] {
    return std::ranges::all_of(
        all, [](End* end) { return end->finished.size() == kEnds - 1 && end->notifications.size() == kEnds - 1; });
  }));
  for (size_t from = 0; from < kEnds; ++from) {
    for (size_t to = 0; to < kEnds; ++to) {
      if (from != to) {
        EXPECT_TRUE(holds(all[to]->data() + from * kPart, kPart, from)) << from << " to " << to;
      }
    }
  }
}

TEST_P(Conformance, MetadataThatIsCutOrMadeUpIsCorrupt) {
  End end(GetParam(), kBlock, "end");
  End other(GetParam(), kBlock, "other");
  const std::string good = other.transport().metadata();
  EXPECT_LE(good.size(), kMostMetadataBytes);
  for (size_t size = 0; size < good.size(); ++size) {
    const Status status = end.transport().add_peer(std::string_view(good).substr(0, size)).status();
    EXPECT_EQ(status.code(), Code::kCorrupt) << size << ": " << status.to_string();
  }
  std::mt19937_64 random(5);
  for (int round = 0; round < 200; ++round) {
    std::string made_up(random() % 300, '\0');
    for (char& byte : made_up) byte = static_cast<char>(random());
    EXPECT_EQ(end.transport().add_peer(made_up).status().code(), Code::kCorrupt);
  }
  EXPECT_TRUE(end.transport().add_peer(good).is_ok());
}

TEST_P(Conformance, AnEndIsNoPeerOfItself) {
  End end(GetParam(), kBlock, "end");
  const Status status = end.transport().add_peer(end.transport().metadata()).status();
  EXPECT_EQ(status.code(), Code::kUnsupported) << status.to_string();
}

TEST_P(Conformance, APutOutsideAPoolIsRefusedWithTheNumbers) {
  End small(GetParam(), 10 * kBlock, "small");
  End large(GetParam(), 20 * kBlock, "large");
  const PeerId to_large = small.add(large);
  const PeerId to_small = large.add(small);
  const auto refused = [](End& end, PeerId peer, Copy copy) {
    const Status status = end.transport().put(peer, std::span(&copy, 1), "").status();
    EXPECT_EQ(status.code(), Code::kInvalid) << status.to_string();
    EXPECT_NE(status.text().find(std::to_string(copy.bytes)), std::string::npos) << status.text();
  };
  refused(small, to_large, {9 * kBlock, 0, kBlock + 1});
  refused(small, to_large, {0, 20 * kBlock, 1});
  refused(large, to_small, {0, 10 * kBlock - 1, 2});
  refused(large, to_small, {UINT64_MAX, 0, 2});
  refused(large, to_small, {0, UINT64_MAX - 1, 8});
  refused(large, to_small, {0, 0, UINT64_MAX});
  EXPECT_EQ(small.transport().put(987654, {}, "").status().code(), Code::kNotFound);
  const PutId last = small.put(to_large, {{9 * kBlock, 19 * kBlock, kBlock}}, "last");
  ASSERT_TRUE(drive({&small, &large}, [&] { return small.has_finished(last) && !large.notifications.empty(); }));
  EXPECT_TRUE(small.how(last).is_ok());
}

TEST_P(Conformance, NotificationsOfEverySizeArriveAsSent) {
  End sender(GetParam(), kBlock, "sender");
  End receiver(GetParam(), kBlock, "receiver");
  const PeerId peer = sender.add(receiver);
  std::vector<std::string> sent;
  for (const size_t size : {0UL, 1UL, 100UL, 65'532UL, 65'536UL, 200'000UL, kMostNotificationBytes}) {
    std::string text(size, '\0');
    fill(reinterpret_cast<std::byte*>(text.data()), size, size);
    sender.put(peer, {}, text);
    sent.push_back(std::move(text));
  }
  const Status status = sender.transport().put(peer, {}, std::string(kMostNotificationBytes + 1, 'x')).status();
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.text().find(std::to_string(kMostNotificationBytes + 1)), std::string::npos);
  ASSERT_TRUE(drive({&sender, &receiver}, [&] {
    return sender.finished.size() == sent.size() && receiver.notifications.size() == sent.size();
  }));
  std::ranges::sort(sent);
  std::ranges::sort(receiver.notifications);
  EXPECT_TRUE(sent == receiver.notifications);
}

TEST_P(Conformance, WakeEndsAPollAndTheNextOneWaitsForIt) {
  End end(GetParam(), kBlock, "end");
  end.transport().wake();
  const auto poll_to_the_end = [&] {  // polls may return early
    const Time until = Clock::steady().now() + seconds(60);
    end.poll(until);
    return Clock::steady().now() >= until;
  };
  EXPECT_FALSE(poll_to_the_end());
  std::atomic<bool> is_over = false;
  std::thread waker([&] {
    while (!is_over) {
      end.transport().wake();
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  for (int round = 0; round < 20; ++round) EXPECT_FALSE(poll_to_the_end());
  is_over = true;
  waker.join();
}

TEST_P(Conformance, WhatHasFinishedIsReceivedAfterItsSenderIsGone) {
  const std::string large(kMostNotificationBytes, 'x');
  End receiver(GetParam(), kBlock, "receiver");
  {
    End sender(GetParam(), kBlock, "sender");
    fill(sender.data(), kBlock, 9);
    const PutId put = sender.put(sender.add(receiver), {{0, 0, kBlock}}, large);
    ASSERT_TRUE(drive({&sender, &receiver}, [&] { return sender.has_finished(put); }));
    ASSERT_TRUE(sender.how(put).is_ok()) << sender.how(put).to_string();
  }
  ASSERT_TRUE(drive({&receiver}, [&] { return !receiver.notifications.empty(); }));
  EXPECT_TRUE(receiver.notifications.front() == large);
  EXPECT_TRUE(holds(receiver.data(), kBlock, 9));
}

TEST_P(Conformance, APeerThatIsGoneIsUnavailable) {
  End sender(GetParam(), kBlock, "sender", /*patience=*/seconds(1));
  auto receiver = std::make_unique<End>(GetParam(), kBlock, "receiver");
  const PeerId peer = sender.add(*receiver);
  const PutId first = sender.put(peer, {{0, 0, kBlock}}, "first");
  ASSERT_TRUE(drive({&sender, receiver.get()}, [&] { return sender.has_finished(first); }));
  receiver.reset();
  // What was sent before its end is noticed may be said to be through.
  for (bool is_gone = false; !is_gone;) {
    auto put = sender.transport().put(peer, {}, "more");
    if (put.is_ok()) {
      ASSERT_TRUE(drive({&sender}, [&] { return sender.has_finished(*put); }));
    }
    const Status status = put.is_ok() ? sender.how(*put) : put.status();
    is_gone = !status.is_ok();
    if (is_gone) {
      EXPECT_EQ(status.code(), Code::kUnavailable) << status.to_string();
    }
  }
}

TEST_P(Conformance, PatienceDoesNotRunWhileTheSenderDoesNotPoll) {
  End receiver(GetParam(), kBlock, "receiver");
  End sender(GetParam(), kBlock, "sender", /*patience=*/milliseconds(500));
  const PutId put = sender.put(sender.add(receiver), {{0, 0, kBlock}}, "late");
  std::this_thread::sleep_for(milliseconds(600));
  ASSERT_TRUE(drive({&sender, &receiver}, [&] { return sender.has_finished(put); }));
  EXPECT_TRUE(sender.how(put).is_ok()) << sender.how(put).to_string();
}

TEST_P(Conformance, PutsToAPeerThatNeverPollsFinishInItsPatience) {
  End silent(GetParam(), kBlock, "silent");
  End sender(GetParam(), kBlock, "sender", /*patience=*/milliseconds(300));  // ends first, and is not held up
  const PeerId peer = sender.add(silent);
  std::vector<PutId> puts;
  for (int put = 0; put < 3; ++put)
    puts.push_back(sender.put(peer, {{0, 0, kBlock}}, std::string(kMostNotificationBytes, 'x')));
  ASSERT_TRUE(drive({&sender}, [&] { return sender.finished.size() == puts.size(); }));
  for (const PutId put : puts)
    EXPECT_TRUE(sender.how(put).is_ok() || sender.how(put).code() == Code::kUnavailable) << sender.how(put).to_string();
}

TEST_P(Conformance, AReceiverKilledInMidTransferIsUnavailableAndItsSuccessorWorks) {
  constexpr uint64_t kBytes = 32U << 20;
  constexpr Copy all{0, 0, kBytes};
  End sender(GetParam(), kBytes, "sender", /*patience=*/seconds(3));
  for (uint64_t block = 0; block < 64; ++block) fill(sender.data() + block * kBlock, kBlock, 77 + block);
  for (int life = 0; life < 3; ++life) {
    ChildEnd receiver(GetParam(), kBytes, &sender);
    sender.notifications.clear();
    sender.put(receiver.peer(), {{0, 0, 64 * kBlock}}, fmt::format("check 0 64 {} 77", kBlock));
    ASSERT_TRUE(drive({&sender}, [&] { return !sender.notifications.empty(); }));
    EXPECT_EQ(sender.notifications.front(), "good");
    // By another thread, since a backend may write all of a put within put().
    std::counting_semaphore<> has_begun(0);
    std::thread killer([&] {
      has_begun.acquire();
      receiver.kill();
    });
    std::vector<PutId> puts;
    const auto has_ended = [&](PutId put) { return sender.has_finished(put); };
    Status how;
    const Time until = soon();
    for (int round = 0; how.is_ok() && Clock::steady().now() < until; ++round) {
      if (round == 5 + life) has_begun.release();
      if (std::ranges::count_if(puts, has_ended) + 8 > std::ssize(puts)) {
        auto put = sender.transport().put(receiver.peer(), std::span(&all, 1), "big");
        how = put.status();
        if (put.is_ok()) puts.push_back(*put);
      }
      sender.poll(Clock::steady().now());
      for (const PutId put : puts)
        if (has_ended(put) && !sender.how(put).is_ok()) how = sender.how(put);
    }
    has_begun.release();
    killer.join();
    EXPECT_EQ(how.code(), Code::kUnavailable) << how.to_string();
    ASSERT_TRUE(drive({&sender}, [&] { return std::ranges::all_of(puts, has_ended); }));
    for (const PutId put : puts) EXPECT_TRUE(sender.how(put).is_ok() || sender.how(put).code() == Code::kUnavailable);
    sender.transport().drop_peer(receiver.peer());
  }
}

TEST_P(Conformance, ASenderKilledInMidTransferLeavesTheReceiverWell) {
  constexpr uint64_t kBytes = 4U << 20;
  End home(GetParam(), kBytes, "home", /*patience=*/seconds(3));
  End other(GetParam(), kBytes, "other");
  const PeerId from_other = other.add(home);
  for (int life = 0; life < 3; ++life) {
    ChildEnd pouring(GetParam(), kBytes, &home);
    home.notifications.clear();
    home.put(pouring.peer(), {}, fmt::format("pour {} {}", kBytes, kNoPermit));
    ASSERT_TRUE(drive({&home}, [&] { return home.notifications.size() > 3; }));
    pouring.kill();
    home.transport().drop_peer(pouring.peer());
    const PutId put = other.put(from_other, {{0, 0, kBlock}}, "still here");
    ASSERT_TRUE(drive({&home, &other}, [&] {
      return other.has_finished(put) && std::ranges::count(home.notifications, "still here") == 1;
    }));
  }
}

TEST_P(Conformance, AStalledPeerIsGivenUpAndDoesNotHoldUpOthers) {
  constexpr uint64_t kBytes = 16U << 20;
  End sender(GetParam(), kBytes, "sender", /*patience=*/milliseconds(1500));
  ChildEnd stalled(GetParam(), kBytes, &sender);
  ChildEnd well(GetParam(), kBytes, &sender);
  for (const PeerId peer : {stalled.peer(), well.peer()}) sender.put(peer, {}, fmt::format("check 0 0 {} 0", kBlock));
  ASSERT_TRUE(drive({&sender}, [&] { return sender.notifications.size() == 2; }));
  stalled.hang();
  std::vector<PutId> puts;
  for (int put = 0; put < 4; ++put)
    puts.push_back(sender.put(stalled.peer(), {{0, 0, kBytes}}, std::string(kMostNotificationBytes, 'x')));
  sender.notifications.clear();
  for (size_t round = 0; round < 50; ++round) {
    fill(sender.data() + kBlock, kBlock, round + 1);
    sender.put(well.peer(), {{kBlock, kBlock, kBlock}}, fmt::format("check 1 1 {} {}", kBlock, round));
    ASSERT_TRUE(drive({&sender}, [&] { return sender.notifications.size() == round + 1; })) << round;
    EXPECT_EQ(sender.notifications.back(), "good");
  }
  const auto all_finished = [&] {
    return std::ranges::all_of(puts, [&](PutId put) { return sender.has_finished(put); });
  };
  ASSERT_TRUE(drive({&sender}, all_finished));
  EXPECT_EQ(sender.how(puts.back()).code(), Code::kUnavailable);
  stalled.resume();
  // It is reached again as soon as it answers.
  sender.notifications.clear();
  const Time until = soon();
  while (sender.notifications.empty() && Clock::steady().now() < until) {
    auto put = sender.transport().put(stalled.peer(), {}, fmt::format("check 0 0 {} 0", kBlock));
    if (put.is_ok()) {
      ASSERT_TRUE(drive({&sender}, [&] { return sender.has_finished(*put); }));
    }
    sender.poll(Clock::steady().now() + milliseconds(50));
  }
  EXPECT_FALSE(sender.notifications.empty());
}

}  // namespace dynamo::transfer
