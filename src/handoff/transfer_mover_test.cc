#include "handoff/transfer_mover.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>

#include "base/check.h"
#include "base/shared_memory.h"
#include "base/testing/patience.h"

namespace dynamo::handoff {
namespace {

constexpr uint32_t kBlocks = 40;

struct Done {
  Status status;
  uint64_t bytes = 0;
};

// A worker's mover, with its pool.
class Worker {
 public:
  explicit Worker(const std::string& name, const std::string& backend, auto change, MoverOptions options = {}) {
    options.card.model_digest = "sha256:abc";
    options.card.layout = {.layers = 3, .kv_heads = 2, .head_dim = 8, .block_tokens = 4, .dtype = kv::KvDtype::kBF16};
    options.card.block_count = kBlocks;
    change(&options.card);
    options.card.block_bytes = block_bytes_ = options.card.layout.block_bytes();
    auto memory = SharedMemory::create(kBlocks * block_bytes_);
    CHECK_OK(memory);
    memory_ = std::move(*memory);
    options.pool = memory_.memory();
    options.name = name;
    options.host = "127.0.0.1";
    options.backend = backend;
    auto mover = make_transfer_mover(std::move(options));
    CHECK_OK(mover);
    mover_ = std::move(*mover);
    mover_->on_notice([this](std::string notice) { notices.add(std::move(notice)); });
  }
  explicit Worker(const std::string& name, const std::string& backend = "auto")
      : Worker(name, backend, [](transfer::PoolCard*) {}) {}

  BlockMover& mover() { return *mover_; }
  std::byte* block(uint32_t number) { return memory_.data() + number * block_bytes_; }
  size_t block_bytes() const { return block_bytes_; }

  Seen<std::string> notices;
  Seen<Done> done;

 private:
  size_t block_bytes_ = 0;
  SharedMemory memory_;
  std::unique_ptr<BlockMover> mover_;
};

Status refusal(Worker* from, Worker* to) {
  const auto route = from->mover().route(to->mover().card());
  return route.is_ok() ? Status() : route.status();
}

TEST(TransferMover, PutsBlocksAndThenTheNotice) {
  for (const std::string backend : {"auto", "shm", "tcp"}) {
    Worker prefill("prefill-worker-1", backend);
    Worker decode("decode-worker-1", backend);
    auto route = prefill.mover().route(decode.mover().card());
    ASSERT_TRUE(route.is_ok()) << route.status().to_string();
    EXPECT_EQ((*route)->backend(), backend == "auto" ? "shm" : backend);
    EXPECT_EQ((*route)->blocks(), kBlocks);
    std::memset(prefill.block(3), 3, prefill.block_bytes());
    std::memset(prefill.block(9), 9, prefill.block_bytes());
    prefill.mover().put(*route, decode.mover().open_room(), {{3, 30}, {9, 0}}, "both",
                        [&](const Status& status, uint64_t bytes) { prefill.done.add({status, bytes}); });
    ASSERT_TRUE(decode.notices.wait_for_count(1) && prefill.done.wait_for_count(1)) << backend;
    EXPECT_EQ(decode.notices.all()[0], "both");
    EXPECT_TRUE(prefill.done.all()[0].status.is_ok());
    EXPECT_EQ(prefill.done.all()[0].bytes, 2 * prefill.block_bytes());
    EXPECT_EQ(std::memcmp(decode.block(30), prefill.block(3), decode.block_bytes()), 0);
    EXPECT_EQ(std::memcmp(decode.block(0), prefill.block(9), decode.block_bytes()), 0);
  }
}

TEST(TransferMover, PoolsThatDifferAreRefusedWithBothValuesBeforeAByteMoves) {
  Worker prefill("prefill-worker-1");
  const auto text_of = [&](auto change) {
    Worker decode("decode-worker-1", "auto", change);
    const Status status = refusal(&prefill, &decode);
    EXPECT_EQ(status.code(), Code::kUnsupported);
    return std::string(status.text());
  };
  EXPECT_EQ(text_of([](transfer::PoolCard* card) { card->layout.layers = 5; }), "layers: 3 here, 5 there");
  EXPECT_EQ(text_of([](transfer::PoolCard* card) { card->layout.block_tokens = 16; }),
            "tokens of a block: 4 here, 16 there");
  EXPECT_EQ(text_of([](transfer::PoolCard* card) { card->layout.dtype = kv::KvDtype::kF16; }),
            "dtype: bf16 here, f16 there");
  EXPECT_EQ(text_of([](transfer::PoolCard* card) { card->model_digest = "sha256:def"; }),
            "model: sha256:abc here, sha256:def there");
}

TEST(TransferMover, WithoutABackendInCommonBothListsAreNamed) {
  Worker prefill("prefill-worker-1", "shm");
  Worker decode("decode-worker-1", "tcp");
  EXPECT_EQ(refusal(&prefill, &decode).to_string(),
            unsupported("no transfer backend in common: shm here, tcp there").to_string());
}

TEST(TransferMover, AutoOffersNixlWhereTheMachineHasRdmaAndTheLibraryLoads) {
  const auto open = [](const std::string& backend, bool has_rdma, const std::string& library) {
    MoverOptions options;
    options.has_rdma = has_rdma;
    options.nixl.file = library;
    return std::make_unique<Worker>("prefill-worker-1", backend, [](transfer::PoolCard*) {}, std::move(options));
  };
  const std::string fake = DYNAMO_FAKE_NIXL "/libfake_nixl.so";
  EXPECT_EQ(open("auto", /*has_rdma=*/false, fake)->mover().backends(), "shm,tcp");
  EXPECT_EQ(open("auto", /*has_rdma=*/true, "/nowhere/libnixl_capi.so")->mover().backends(), "shm,tcp");
  EXPECT_EQ(open("tcp", /*has_rdma=*/true, fake)->mover().backends(), "tcp");
  const auto worker = open("auto", /*has_rdma=*/true, fake);
  BlockMover& mover = worker->mover();
  EXPECT_EQ(mover.backends(), "nixl,shm,tcp");
  const auto backend_to = [&](auto change) {
    auto card = transfer::PoolCard::parse(mover.card());
    CHECK_OK(card);
    change(&*card);
    const auto route = mover.route(card->to_bytes());
    CHECK_OK(route);
    return std::string((*route)->backend());
  };
  EXPECT_EQ(backend_to([](transfer::PoolCard*) {}), "shm");
  EXPECT_EQ(backend_to([](transfer::PoolCard* card) { card->host = "another"; }), "nixl");
  EXPECT_EQ(backend_to([](transfer::PoolCard* card) {
              card->host = "another";
              card->backends.erase("nixl");
            }),
            "tcp");
}

// An end of backend shm that can be broken, as if its device went down.
class Breakable final : public transfer::KvTransport {
 public:
  Breakable(std::unique_ptr<transfer::KvTransport> inner, const std::atomic<bool>* is_broken)
      : inner_(std::move(inner)), is_broken_(is_broken) {}
  std::string_view backend() const override { return inner_->backend(); }
  bool keeps_permits() const override { return inner_->keeps_permits(); }
  const std::string& metadata() const override { return inner_->metadata(); }
  Result<transfer::PeerId> add_peer(std::string_view metadata) override { return inner_->add_peer(metadata); }
  void drop_peer(transfer::PeerId peer) override { inner_->drop_peer(peer); }
  Result<transfer::PutId> put(transfer::PeerId peer, std::span<const transfer::Copy> copies, std::string notification,
                              transfer::PermitId permit) override {
    if (*is_broken_) return unavailable("the device is down");
    return inner_->put(peer, copies, std::move(notification), permit);
  }
  void cancel(transfer::PutId put) override { inner_->cancel(put); }
  transfer::Progress poll(Time until) override { return inner_->poll(until); }
  void wake() override { inner_->wake(); }

 private:
  std::unique_ptr<transfer::KvTransport> inner_;
  const std::atomic<bool>* is_broken_;
};

TEST(TransferMover, ABackendThatFailsGivesWayToTheNextUntilItWorksAgain) {
  std::atomic<bool> is_broken{true};
  MoverOptions options;
  options.pause_before_faster = std::chrono::milliseconds(1);
  options.make_transport =
      [&](std::string_view backend,
          const transfer::TransportOptions& one) -> Result<std::unique_ptr<transfer::KvTransport>> {
    if (backend == "tcp") return transfer::make_tcp_transport(one);
    TRY(auto shm, transfer::make_shm_transport(one));
    return std::unique_ptr<transfer::KvTransport>(std::make_unique<Breakable>(std::move(shm), &is_broken));
  };
  Worker prefill("prefill-worker-1", "auto", [](transfer::PoolCard*) {}, std::move(options));
  Worker decode("decode-worker-1");
  size_t puts = 0;
  const auto backend_now = [&] {
    const auto route = prefill.mover().route(decode.mover().card());
    CHECK_OK(route);
    return std::string((*route)->backend());
  };
  // What became of a block sent now.
  const auto send = [&](const std::string& notice) {
    const auto route = prefill.mover().route(decode.mover().card());
    CHECK_OK(route);
    const uint64_t room = decode.mover().open_room();
    prefill.mover().put(*route, room, {{1, 2}}, notice,
                        [&](const Status& status, uint64_t bytes) { prefill.done.add({status, bytes}); });
    CHECK(prefill.done.wait_for_count(++puts));
    decode.mover().close_room(room);
    return prefill.done.all().back().status;
  };

  EXPECT_EQ(backend_now(), "shm");
  EXPECT_EQ(send("lost").code(), Code::kUnavailable);
  std::memset(prefill.block(1), 7, prefill.block_bytes());
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(backend_now(), "tcp") << i;  // however often shm is tried meanwhile
    EXPECT_TRUE(send("by tcp").is_ok()) << i;
  }
  EXPECT_EQ(std::memcmp(decode.block(2), prefill.block(1), decode.block_bytes()), 0);
  is_broken = false;
  EXPECT_TRUE(wait_until([&] { return backend_now() == "shm"; }));
  EXPECT_TRUE(send("by shm").is_ok());
  is_broken = true;
  EXPECT_FALSE(send("lost").is_ok());
  EXPECT_EQ(backend_now(), "tcp");
}

TEST(TransferMover, ABackendThatWasAskedForIsNotReplaced) {
  Worker prefill("prefill-worker-1", "shm");
  auto decode = std::make_unique<Worker>("decode-worker-1");
  const std::string card = decode->mover().card();
  decode.reset();
  for (size_t puts = 1; puts <= 2; ++puts) {
    const auto route = prefill.mover().route(card);
    CHECK_OK(route);
    EXPECT_EQ((*route)->backend(), "shm");
    prefill.mover().put(*route, 1, {{0, 0}}, "to nobody",
                        [&](const Status& status, uint64_t bytes) { prefill.done.add({status, bytes}); });
    ASSERT_TRUE(prefill.done.wait_for_count(puts));
    EXPECT_FALSE(prefill.done.all().back().status.is_ok());
  }
}

TEST(TransferMover, AnUnknownBackendIsNamedWithThoseThatAreThere) {
  MoverOptions options;
  options.backend = "smoke-signals";
  const Status status = make_transfer_mover(std::move(options)).status();
  EXPECT_EQ(status.code(), Code::kInvalid);
  for (const char* word : {"smoke-signals", "auto", "shm", "tcp", "nixl"})
    EXPECT_NE(status.text().find(word), std::string_view::npos) << word;
}

TEST(TransferMover, WhoLeavesIsToldOfAndOneThatComesBackIsReachedAgain) {
  Worker prefill("prefill-worker-1", "tcp");
  auto decode = std::make_unique<Worker>("decode-worker-1", "tcp");
  auto route = prefill.mover().route(decode->mover().card());
  ASSERT_TRUE(route.is_ok());
  const auto tell = [&](const Status& status, uint64_t bytes) { prefill.done.add({status, bytes}); };
  decode.reset();
  prefill.mover().put(*route, 1, {{0, 0}}, "to nobody", tell);
  ASSERT_TRUE(prefill.done.wait_for_count(1));
  EXPECT_EQ(prefill.done.all()[0].status.code(), Code::kUnavailable);
  EXPECT_EQ(prefill.done.all()[0].bytes, 0);
  decode = std::make_unique<Worker>("decode-worker-1", "tcp");
  route = prefill.mover().route(decode->mover().card());
  ASSERT_TRUE(route.is_ok());
  prefill.mover().put(*route, decode->mover().open_room(), {{0, 0}}, "again", tell);
  ASSERT_TRUE(decode->notices.wait_for_count(1));
  EXPECT_EQ(decode->notices.all()[0], "again");
}

TEST(TransferMover, OneThatStaysIsReachedAfterHundredsCameAndWent) {
  Worker prefill("prefill-worker-1", "shm");
  Worker home("decode-worker-1", "shm");
  size_t puts = 0;
  const auto reach = [&](Worker* decode, size_t notices = 1) {
    auto route = prefill.mover().route(decode->mover().card());
    ASSERT_TRUE(route.is_ok());
    prefill.mover().put(*route, decode->mover().open_room(), {{0, 0}}, "here",
                        [&](const Status& status, uint64_t bytes) { prefill.done.add({status, bytes}); });
    ASSERT_TRUE(decode->notices.wait_for_count(notices) && prefill.done.wait_for_count(++puts));
    EXPECT_TRUE(prefill.done.all().back().status.is_ok());
  };
  reach(&home);
  for (int guest = 0; guest < 300; ++guest) {
    Worker decode("decode-worker-2", "shm");
    reach(&decode);
  }
  reach(&home, 2);
}

}  // namespace
}  // namespace dynamo::handoff
