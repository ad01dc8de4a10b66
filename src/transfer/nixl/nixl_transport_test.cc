// What is the backend "nixl"'s own: finding the library, its metadata, its parts, and failures that only a fake of NIXL can make.
// Some of it against the real library too (nixl/testing/real_library.h).
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transfer/kv_transport.h"
#include "transfer/nixl/envelope.h"
#include "transfer/nixl/nixl_api.h"
#include "transfer/nixl/testing/real_library.h"

namespace dynamo::transfer {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Duration kLimit = std::chrono::seconds(60);  // of anything that should happen
const std::string kFake = DYNAMO_FAKE_NIXL "/libfake_nixl.so";

Time soon(Duration in = std::chrono::milliseconds(5)) {
  return Clock::steady().now() + in;
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "nixl_test_XXXXXX").string();
    CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

struct Fake {
  Fake() : library(::dlopen(kFake.c_str(), RTLD_NOW | RTLD_LOCAL)) { CHECK(library != nullptr); }
  ~Fake() {
    for (const char* what : {"create_agent", "plugin", "create_backend", "register", "get_metadata", "load", "make",
                             "post", "status", "finish", "notify"})
      fail(what, 0);
  }
  void fail(const char* what, int times = -1) {
    reinterpret_cast<void (*)(const char*, int)>(::dlsym(library, "fake_nixl_fail"))(what, times);
  }
  int64_t ask(const char* name) { return reinterpret_cast<int64_t (*)()>(::dlsym(library, name))(); }
  int64_t live_handles() { return ask("fake_nixl_live_handles"); }
  int64_t misuses() { return ask("fake_nixl_misuses"); }
  void* library;
};

// One end with a pool of its own.
struct End {
  explicit End(const std::string& library, size_t bytes = 1U << 20, Duration patience = std::chrono::seconds(20))
      : pool(bytes) {
    TransportOptions options;
    options.pool = {.data = pool.data(), .bytes = pool.size()};
    options.name = "test-end";
    options.nixl.file = library;
    options.patience = patience;
    auto made = make_nixl_transport(std::move(options));
    CHECK_OK(made);
    transport = std::move(made).value();
  }
  PeerId add(const End& other) {
    auto peer = transport->add_peer(other.transport->metadata());
    CHECK_OK(peer);
    return *peer;
  }
  std::byte* at(size_t offset) { return pool.data() + offset; }

  std::vector<std::byte> pool;
  std::unique_ptr<KvTransport> transport;
};

// What both ends saw while they were polled in turn until `is_enough` or kLimit.
struct Seen {
  std::map<PutId, std::vector<Status>> finished;
  std::vector<std::string> notifications;  // at the receiver
};
template <class Enough>
Seen poll_both(End* sender, End* receiver, Enough is_enough) {
  Seen seen;
  const Time limit = Clock::steady().now() + kLimit;
  while (!is_enough(seen) && Clock::steady().now() < limit) {
    for (FinishedPut& one : sender->transport->poll(soon(std::chrono::microseconds(50))).finished)
      seen.finished[one.put].push_back(one.status);
    if (receiver == nullptr) continue;
    for (std::string& one : receiver->transport->poll(soon(std::chrono::microseconds(50))).notifications)
      seen.notifications.push_back(std::move(one));
  }
  return seen;
}

auto all_of(size_t finished, size_t notifications) {
  return
      [=](const Seen& seen) { return seen.finished.size() >= finished && seen.notifications.size() >= notifications; };
}

Status only_status(const Seen& seen, PutId put) {
  const auto found = seen.finished.find(put);
  if (found == seen.finished.end()) return internal("it has not finished");
  if (found->second.size() != 1) return internal("it has finished more than once");
  return found->second[0];
}

void fill(std::vector<std::byte>* pool, uint32_t seed) {
  std::mt19937 random(seed);
  for (std::byte& byte : *pool) byte = static_cast<std::byte>(random());
}

// ---- finding the library ----

Result<nixl::Api> load_file(const std::string& file) {
  return nixl::load({.file = file, .prefixes = {}});
}

TEST(NixlLibrary, ANamedFileThatIsNotThereIsNotFound) {
  const auto loaded = load_file("/nowhere/libnixl_capi.so");
  EXPECT_EQ(loaded.status().code(), Code::kNotFound);
  EXPECT_THAT(loaded.status().text(), HasSubstr("/nowhere/libnixl_capi.so"));
}

TEST(NixlLibrary, IsLookedForBelowEachPrefixAndThenAsTheLoaderDoes) {
  const TemporaryFolder folder;
  const std::string root = folder.path().string();
  fs::create_directories(root + "/venv/lib/python3.11/site-packages");
  fs::create_symlink("lib", root + "/venv/lib64");
  EXPECT_THAT(nixl::candidates({.file = "", .prefixes = {root + "/own", root + "/venv"}}),
              ElementsAre(root + "/own/lib/libnixl_capi.so", root + "/own/lib64/libnixl_capi.so",
                          root + "/own/lib/x86_64-linux-gnu/libnixl_capi.so",
                          root + "/own/lib/aarch64-linux-gnu/libnixl_capi.so", root + "/venv/lib/libnixl_capi.so",
                          root + "/venv/lib64/libnixl_capi.so", root + "/venv/lib/x86_64-linux-gnu/libnixl_capi.so",
                          root + "/venv/lib/aarch64-linux-gnu/libnixl_capi.so",
                          root + "/venv/lib/python3.11/site-packages/.nixl_cu13.mesonpy.libs/libnixl_capi.so",
                          root + "/venv/lib/python3.11/site-packages/.nixl_cu12.mesonpy.libs/libnixl_capi.so",
                          "libnixl_capi.so"));
  EXPECT_THAT(nixl::candidates({.file = "named", .prefixes = {root}}), ElementsAre("named"));
}

TEST(NixlLibrary, APathHasThePrefixesOfItsPythons) {
  const TemporaryFolder folder;
  const std::string root = folder.path().string();
  for (const char* prefix : {"/venv", "/system", "/links"}) fs::create_directories(root + prefix + "/bin");
  std::ofstream(root + "/venv/bin/python3").put('x');
  std::ofstream(root + "/venv/pyvenv.cfg").put('x');
  std::ofstream(root + "/system/bin/python3").put('x');
  fs::create_symlink(root + "/system/bin/python3", root + "/links/bin/python3");
  const std::string path = root + "/empty::" + root + "/links/bin:" + root + "/venv/bin:" + root + "/system/bin";
  EXPECT_THAT(nixl::python_prefixes(path), ElementsAre(fs::canonical(root + "/system").string(), root + "/venv"));
  EXPECT_THAT(nixl::python_prefixes(""), IsEmpty());
}

TEST(NixlLibrary, NotFoundListsEveryPlace) {
  const auto loaded = nixl::load({.file = "", .prefixes = {"/nowhere", "/nor/here"}});
  if (loaded.is_ok()) GTEST_SKIP() << "the system's loader finds " << loaded->path;
  EXPECT_EQ(loaded.status().code(), Code::kNotFound);
  EXPECT_THAT(loaded.status().text(), AllOf(HasSubstr("/nowhere"), HasSubstr("/nor/here"), HasSubstr("aarch64"),
                                            HasSubstr("nixl-cu12"), HasSubstr("--nixl-lib")));
}

TEST(NixlLibrary, IsLoadedFromTheWheelOfAPython) {
  const TemporaryFolder folder;
  const fs::path wheel = folder.path() / "lib/python3.11/site-packages/.nixl_cu12.mesonpy.libs";
  fs::create_directories(wheel);
  fs::create_symlink(kFake, wheel / "libnixl_capi.so");
  const auto loaded = nixl::load({.file = "", .prefixes = {folder.path().string()}});
  ASSERT_TRUE(loaded.is_ok()) << loaded.status().to_string();
  EXPECT_EQ(loaded->path, wheel / "libnixl_capi.so");
}

TEST(NixlLibrary, AFileThatIsNoLibraryIsUnavailable) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "libnixl_capi.so";
  std::ofstream(file) << "no library";
  EXPECT_EQ(load_file(file).status().code(), Code::kUnavailable);
}

TEST(NixlLibrary, AMissingFunctionIsNamed) {
  const auto loaded = load_file(DYNAMO_FAKE_NIXL "/libfake_nixl_without_gen_notif.so");
  EXPECT_EQ(loaded.status().code(), Code::kUnsupported);
  EXPECT_THAT(loaded.status().text(), HasSubstr("nixl_capi_gen_notif"));
}

// ---- the envelope ----

TEST(NixlEnvelope, ComesBackAsItWas) {
  const nixl::Envelope sent{.agent = "a",
                            .kind = MemoryKind::kCuda,
                            .device = 3,
                            .address = 4096,
                            .bytes = 77,
                            .blob = std::string("b\0c", 3)};
  const auto back = nixl::unseal(nixl::seal(sent));
  ASSERT_TRUE(back.is_ok());
  EXPECT_EQ(back->agent, sent.agent);
  EXPECT_EQ(back->kind, sent.kind);
  EXPECT_EQ(back->device, sent.device);
  EXPECT_EQ(back->address, sent.address);
  EXPECT_EQ(back->bytes, sent.bytes);
  EXPECT_EQ(back->blob, sent.blob);
}

TEST(NixlEnvelope, RefusesEveryPrefixAndEveryChangedByte) {
  const std::string whole = nixl::seal({.agent = "agent", .address = 4096, .bytes = 77, .blob = "blob"});
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(nixl::unseal(std::string_view(whole).substr(0, i)).status().code(), Code::kCorrupt) << i;
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_EQ(nixl::unseal(changed).status().code(), Code::kCorrupt) << i;
  }
}

TEST(NixlEnvelope, NamesBothVersions) {
  std::string other = nixl::seal({.agent = "agent", .blob = "blob"});
  other[7] = '2';
  EXPECT_THAT(nixl::unseal(other).status().text(), AllOf(HasSubstr("version '2'"), HasSubstr("version 1")));
}

// ---- every library ----

class NixlTransport : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (GetParam() == std::string("fake")) {
      library_ = kFake;
      return;
    }
    auto real = nixl::real_library();
    if (!real.is_ok()) GTEST_SKIP() << "NIXL itself is not tested: " << real.status().to_string();
    library_ = *real;
  }
  std::string library_;
};
INSTANTIATE_TEST_SUITE_P(Library, NixlTransport, testing::Values("fake", "real"),
                         [](const auto& one) { return std::string(one.param); });

TEST_P(NixlTransport, MovesScatteredBlocksAndTellsAfterwards) {
  End sender(library_), receiver(library_);
  fill(&sender.pool, 1);
  const PeerId peer = sender.add(receiver);
  std::vector<uint64_t> order(256);
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937(2));
  for (const std::string round : {"first", "second", "third"}) {
    std::ranges::fill(receiver.pool, std::byte{0});
    std::vector<Copy> copies;
    for (size_t i = 0; i < order.size(); ++i) copies.push_back({i * 4096, order[i] * 4096, 4096});
    const auto put = sender.transport->put(peer, copies, round);
    ASSERT_TRUE(put.is_ok()) << put.status().to_string();
    const Seen seen = poll_both(&sender, &receiver, [&](const Seen& so_far) {
      if (!so_far.notifications.empty()) {
        for (size_t i = 0; i < order.size(); ++i) {
          EXPECT_EQ(std::memcmp(sender.at(i * 4096), receiver.at(order[i] * 4096), 4096), 0) << "block " << i;
        }
      }
      return all_of(1, 1)(so_far);
    });
    EXPECT_EQ(only_status(seen, *put).to_string(), "ok");
    EXPECT_THAT(seen.notifications, ElementsAre(round));
  }
}

TEST_P(NixlTransport, WritesNothingBesideTheCopies) {
  End sender(library_), receiver(library_);
  fill(&sender.pool, 1);
  const PeerId peer = sender.add(receiver);
  // Neighbours on both sides, on one side only, of odd sizes, and empty ones.
  const std::vector<Copy> copies = {{0, 100, 50}, {50, 150, 50}, {100, 300, 7}, {7, 307, 1}, {9, 9, 0}, {500, 0, 13}};
  std::vector<std::byte> wanted = receiver.pool;
  for (const Copy& copy : copies) std::memcpy(wanted.data() + copy.to, sender.at(copy.from), copy.bytes);
  const auto put = sender.transport->put(peer, copies, "n");
  ASSERT_TRUE(put.is_ok());
  EXPECT_EQ(only_status(poll_both(&sender, &receiver, all_of(1, 1)), *put).to_string(), "ok");
  EXPECT_TRUE(receiver.pool == wanted);
}

TEST_P(NixlTransport, ManyPutsEachFinishOnceAndEachIsToldOnce) {
  End sender(library_), receiver(library_);
  fill(&sender.pool, 1);
  const PeerId peer = sender.add(receiver);
  std::vector<PutId> puts;
  std::vector<std::string> wanted;
  for (uint64_t i = 0; i < 64; ++i) {
    const Copy copy{i * 4096, (63 - i) * 4096, 4096};
    wanted.push_back(fmt::format("put {}", i));
    const auto put = sender.transport->put(peer, std::span(&copy, 1), wanted.back());
    ASSERT_TRUE(put.is_ok());
    puts.push_back(*put);
  }
  const Seen seen = poll_both(&sender, &receiver, all_of(64, 64));
  for (const PutId put : puts) EXPECT_EQ(only_status(seen, put).to_string(), "ok");
  EXPECT_THAT(seen.notifications, testing::UnorderedElementsAreArray(wanted));
  EXPECT_THAT(poll_both(&sender, &receiver, [n = 0](const Seen&) mutable { return n++ == 20; }).notifications,
              IsEmpty());
}

TEST_P(NixlTransport, ANotificationMayComeAloneBeEmptyOrBeLarge) {
  End sender(library_), receiver(library_);
  const PeerId peer = sender.add(receiver);
  std::string large(kMostNotificationBytes, 'x');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 31);
  for (const std::string& text : {std::string("alone"), std::string(), std::string("\0n\0", 3), large}) {
    const auto put = sender.transport->put(peer, {}, text);
    ASSERT_TRUE(put.is_ok());
    const Seen seen = poll_both(&sender, &receiver, all_of(1, 1));
    EXPECT_EQ(only_status(seen, *put).to_string(), "ok");
    ASSERT_EQ(seen.notifications.size(), 1U);
    EXPECT_TRUE(seen.notifications[0] == text) << text.size();
  }
}

TEST_P(NixlTransport, APutOfSeveralPartsArrivesWhole) {
  constexpr size_t kBytes = 150U << 20;
  End sender(library_, kBytes), receiver(library_, kBytes);
  for (size_t i = 0; i < kBytes; i += 1000) sender.pool[i] = static_cast<std::byte>(i / 1000 % 251);
  const PeerId peer = sender.add(receiver);
  const Copy all{0, 0, kBytes};
  const auto put = sender.transport->put(peer, std::span(&all, 1), "all");
  ASSERT_TRUE(put.is_ok());
  const Seen seen = poll_both(&sender, &receiver, all_of(1, 1));
  EXPECT_EQ(only_status(seen, *put).to_string(), "ok");
  EXPECT_TRUE(sender.pool == receiver.pool);
}

TEST_P(NixlTransport, BothEndsMayWriteAtOnce) {
  End a(library_), b(library_);
  fill(&a.pool, 1);
  const PeerId to_b = a.add(b), to_a = b.add(a);
  const Copy there{0, 0, 4096}, back{0, 8192, 4096};
  ASSERT_TRUE(a.transport->put(to_b, std::span(&there, 1), "there").is_ok());
  EXPECT_THAT(poll_both(&a, &b, all_of(1, 1)).notifications, ElementsAre("there"));
  ASSERT_TRUE(b.transport->put(to_a, std::span(&back, 1), "back").is_ok());
  EXPECT_THAT(poll_both(&b, &a, all_of(1, 1)).notifications, ElementsAre("back"));
  EXPECT_EQ(std::memcmp(a.at(0), a.at(8192), 4096), 0);
}

TEST_P(NixlTransport, ADroppedPeerCanBeAddedAgain) {
  End sender(library_), receiver(library_);
  fill(&sender.pool, 1);
  PeerId last = 0;
  for (int round = 0; round < 3; ++round) {
    const PeerId peer = sender.add(receiver);
    EXPECT_NE(peer, last);
    const Copy copy{0, 4096, 4096};
    ASSERT_TRUE(sender.transport->put(peer, std::span(&copy, 1), "n").is_ok());
    EXPECT_THAT(poll_both(&sender, &receiver, all_of(1, 1)).notifications, ElementsAre("n"));
    const auto put = sender.transport->put(peer, std::span(&copy, 1), "dropped");
    ASSERT_TRUE(put.is_ok());
    sender.transport->drop_peer(peer);
    const Progress next = sender.transport->poll(Clock::steady().now());
    ASSERT_EQ(next.finished.size(), 1U);
    EXPECT_EQ(next.finished[0].put, *put);
    EXPECT_EQ(next.finished[0].status.code(), Code::kCancelled);
    EXPECT_EQ(sender.transport->put(peer, {}, "").status().code(), Code::kNotFound);
    last = peer;
  }
  sender.transport->drop_peer(last);
  sender.transport->drop_peer(12345);
}

TEST_P(NixlTransport, OnePeerAddedTwiceIsTwoPeers) {
  End sender(library_), receiver(library_);
  const PeerId first = sender.add(receiver), second = sender.add(receiver);
  EXPECT_NE(first, second);
  sender.transport->drop_peer(first);
  const Copy copy{0, 4096, 4096};
  const auto put = sender.transport->put(second, std::span(&copy, 1), "n");
  ASSERT_TRUE(put.is_ok());
  EXPECT_EQ(only_status(poll_both(&sender, &receiver, all_of(1, 1)), *put).to_string(), "ok");
}

TEST_P(NixlTransport, ACancelledPutFinishesOnceAndIsNotTold) {
  End sender(library_), receiver(library_);
  const PeerId peer = sender.add(receiver);
  const Copy copy{0, 0, 1U << 20};
  const auto put = sender.transport->put(peer, std::span(&copy, 1), "cancelled");
  ASSERT_TRUE(put.is_ok());
  sender.transport->cancel(*put);
  sender.transport->cancel(*put + 1);
  EXPECT_EQ(only_status(poll_both(&sender, &receiver, all_of(1, 0)), *put).code(), Code::kCancelled);
  ASSERT_TRUE(sender.transport->put(peer, {}, "next").is_ok());
  EXPECT_THAT(poll_both(&sender, &receiver, all_of(1, 1)).notifications, ElementsAre("next"));
}

TEST_P(NixlTransport, RefusesWhatDoesNotFit) {
  End sender(library_, 1000), receiver(library_, 2000);
  const PeerId peer = sender.add(receiver);
  for (const Copy copy : {Copy{1, 0, 1000}, Copy{0, 1999, 2}, Copy{UINT64_MAX, 0, 2}, Copy{0, 0, UINT64_MAX}}) {
    const auto put = sender.transport->put(peer, std::span(&copy, 1), "n");
    EXPECT_EQ(put.status().code(), Code::kInvalid);
    EXPECT_THAT(put.status().text(), AllOf(HasSubstr("1000"), HasSubstr("2000")));
  }
  EXPECT_EQ(sender.transport->put(peer, {}, std::string(kMostNotificationBytes + 1, 'x')).status().code(),
            Code::kInvalid);
  EXPECT_EQ(sender.transport->put(peer + 1, {}, "").status().code(), Code::kNotFound);
}

TEST_P(NixlTransport, RefusesMetadataThatIsNotAPeers) {
  End end(library_), other(library_);
  EXPECT_EQ(end.transport->add_peer(end.transport->metadata()).status().code(), Code::kUnsupported);
  EXPECT_EQ(end.transport->add_peer("").status().code(), Code::kCorrupt);
  std::string metadata = other.transport->metadata();
  metadata.back() = static_cast<char>(metadata.back() ^ 1);
  EXPECT_EQ(end.transport->add_peer(metadata).status().code(), Code::kCorrupt);
  EXPECT_LE(other.transport->metadata().size(), kMostMetadataBytes);
  EXPECT_EQ(end.transport->backend(), "nixl");
}

TEST_P(NixlTransport, APutToAnEndThatIsGoneFinishesWithUnavailable) {
  End sender(library_, 1U << 20, /*patience=*/std::chrono::seconds(2));
  auto receiver = std::make_unique<End>(library_);
  const PeerId peer = sender.add(*receiver);
  ASSERT_TRUE(sender.transport->put(peer, {}, "hello").is_ok());
  ASSERT_EQ(poll_both(&sender, receiver.get(), all_of(1, 1)).notifications.size(), 1U);
  receiver->transport.reset();  // its pool stays, so that nothing is written into what is freed
  const auto put = sender.transport->put(peer, {}, "anybody?");
  if (!put.is_ok()) {
    EXPECT_EQ(put.status().code(), Code::kUnavailable);
    return;
  }
  const Status status = only_status(poll_both(&sender, nullptr, all_of(1, 0)), *put);
  EXPECT_EQ(status.code(), Code::kUnavailable) << status.to_string();
}

TEST_P(NixlTransport, WakeEndsAPollThatWaitsOrTheNext) {
  End end(library_);
  const Time start = Clock::steady().now();
  end.transport->wake();
  EXPECT_THAT(end.transport->poll(start + kLimit).notifications, IsEmpty());
  std::thread other([&] { end.transport->wake(); });
  EXPECT_THAT(end.transport->poll(start + kLimit).notifications, IsEmpty());
  other.join();
  EXPECT_LT(Clock::steady().now(), start + kLimit);
  const Time until = soon();
  end.transport->poll(until);
  EXPECT_GE(Clock::steady().now(), until);
}

// ---- what only a fake can do ----

class NixlFaults : public testing::Test {
 protected:
  // After the ends of a test are gone, all their handles are, and nothing was done that NIXL would not bear.
  void TearDown() override {
    EXPECT_EQ(fake_.live_handles(), live_before_);
    EXPECT_EQ(fake_.misuses(), 0);
  }
  Fake fake_;
  const int64_t live_before_ = fake_.live_handles();
};

TEST_F(NixlFaults, NoEndIsMadeWithoutAgentBackendOrPool) {
  std::vector<std::byte> pool(4096);
  for (const char* what : {"create_agent", "plugin", "create_backend", "register", "get_metadata"}) {
    fake_.fail(what, 1);
    TransportOptions options;
    options.pool = {.data = pool.data(), .bytes = pool.size()};
    options.name = "test-end";
    options.nixl.file = kFake;
    EXPECT_EQ(make_nixl_transport(std::move(options)).status().code(), Code::kUnavailable) << what;
    EXPECT_EQ(fake_.live_handles(), live_before_) << what;
  }
}

TEST_F(NixlFaults, MemoryOfAGpuIsUnsupported) {
  TransportOptions options;
  options.pool.kind = MemoryKind::kCuda;
  options.nixl.file = kFake;
  EXPECT_EQ(make_nixl_transport(std::move(options)).status().code(), Code::kUnsupported);
}

TEST_F(NixlFaults, AnEndOnLoopbackKeepsUcxToLoopback) {
  std::vector<std::byte> pool(4096);
  const std::pair<std::string, std::string> cases[] = {
      {"127.0.0.1", ""}, {"127.8.8.8", ""},   {"::1", ""},        {"203.0.113.1", "127.0.0.1"},
      {"192.0.2.1", ""}, {"2001:db8::1", ""}, {"127.0.0.1", "::"}};
  for (const auto& [host, listen_host] : cases) {
    TransportOptions options;
    options.pool = {.data = pool.data(), .bytes = pool.size()};
    options.host = host;
    options.listen_host = listen_host;
    options.nixl.file = kFake;
    const int64_t before = fake_.ask("fake_nixl_loopback_backends");
    ASSERT_TRUE(make_nixl_transport(std::move(options)).is_ok());
    const bool is_far = host == "192.0.2.1" || host == "2001:db8::1" || listen_host == "::";
    EXPECT_EQ(fake_.ask("fake_nixl_loopback_backends"), before + (is_far ? 0 : 1)) << host;
  }
}

TEST_F(NixlFaults, MetadataThatNixlRefusesIsNoPeer) {
  End end(kFake), other(kFake);
  fake_.fail("load", 1);
  EXPECT_EQ(end.transport->add_peer(other.transport->metadata()).status().code(), Code::kUnavailable);
  EXPECT_TRUE(end.transport->add_peer(other.transport->metadata()).is_ok());
}

TEST_F(NixlFaults, AFailureOfTheBackendLosesThePeerAndTheNextPutConnectsAgain) {
  End sender(kFake), receiver(kFake);
  const PeerId peer = sender.add(receiver);
  const PeerId same = sender.add(receiver);
  for (const std::string what : {"make", "post", "status", "notify"}) {
    const Copy copy{0, 0, 4096};
    const auto before = sender.transport->put(same, std::span(&copy, 1), "before");
    if (what == "status" || what == "notify") fake_.fail(what.c_str(), 1);
    const auto put = [&] {
      if (what == "make" || what == "post") fake_.fail(what.c_str(), 1);
      return sender.transport->put(peer, std::span(&copy, 1), "n");
    }();
    ASSERT_TRUE(before.is_ok() && put.is_ok()) << what;
    const Seen lost = poll_both(&sender, &receiver, all_of(2, 0));
    EXPECT_EQ(only_status(lost, *before).code(), Code::kUnavailable) << what;
    EXPECT_EQ(only_status(lost, *put).code(), Code::kUnavailable) << what;
    fake_.fail("load", 1);
    EXPECT_EQ(sender.transport->put(peer, {}, "").status().code(), Code::kUnavailable) << what;
    EXPECT_THAT(poll_both(&sender, &receiver, [n = 0](const Seen&) mutable { return n++ == 5; }).finished, IsEmpty());
    ASSERT_TRUE(sender.transport->put(peer, std::span(&copy, 1), "well").is_ok());
    EXPECT_THAT(poll_both(&sender, &receiver, all_of(1, 1)).notifications, ElementsAre("well")) << what;
  }
}

TEST_F(NixlFaults, ATransferThatNeverEndsIsGivenUpAfterPatience) {
  End sender(kFake, 1U << 20, /*patience=*/std::chrono::milliseconds(30)), receiver(kFake);
  const PeerId peer = sender.add(receiver);
  fake_.fail("finish");
  const Copy copy{0, 0, 4096};
  const Time start = Clock::steady().now();
  const auto put = sender.transport->put(peer, std::span(&copy, 1), "n");
  const auto cancelled_put = sender.transport->put(peer, std::span(&copy, 1), "n");
  ASSERT_TRUE(put.is_ok() && cancelled_put.is_ok());
  sender.transport->cancel(*cancelled_put);
  const Seen seen = poll_both(&sender, &receiver, all_of(2, 0));
  EXPECT_GE(Clock::steady().now() - start, std::chrono::milliseconds(30));
  EXPECT_EQ(only_status(seen, *put).code(), Code::kUnavailable);
  EXPECT_EQ(only_status(seen, *cancelled_put).code(), Code::kCancelled);
  EXPECT_THAT(seen.notifications, IsEmpty());
}

TEST_F(NixlFaults, PatienceDoesNotRunWhileNobodyPolls) {
  End sender(kFake, 1U << 20, /*patience=*/std::chrono::milliseconds(20)), receiver(kFake);
  const PeerId peer = sender.add(receiver);
  fake_.fail("finish", 3);
  const Copy copy{0, 0, 4096};
  ASSERT_TRUE(sender.transport->put(peer, std::span(&copy, 1), "n").is_ok());
  for (const Time due = soon(std::chrono::milliseconds(40)); Clock::steady().now() < due;) {
  }
  EXPECT_THAT(poll_both(&sender, &receiver, all_of(1, 1)).notifications, ElementsAre("n"));
}

TEST_F(NixlFaults, NothingIsToldBeforeTheDataIsThere) {
  End sender(kFake), receiver(kFake);
  fill(&sender.pool, 1);
  const PeerId peer = sender.add(receiver);
  fake_.fail("finish");
  const Copy copy{0, 0, 4096};
  ASSERT_TRUE(sender.transport->put(peer, std::span(&copy, 1), "n").is_ok());
  const Seen waiting = poll_both(&sender, &receiver, [n = 0](const Seen&) mutable { return n++ == 20; });
  EXPECT_THAT(waiting.notifications, IsEmpty());
  EXPECT_THAT(waiting.finished, IsEmpty());
  fake_.fail("finish", 0);
  EXPECT_THAT(poll_both(&sender, &receiver, all_of(1, 1)).notifications, ElementsAre("n"));
  EXPECT_EQ(std::memcmp(sender.at(0), receiver.at(0), 4096), 0);
}

TEST_F(NixlFaults, ACancelledPutWaitsForWhatIsOnItsWay) {
  End sender(kFake), receiver(kFake);
  const PeerId peer = sender.add(receiver);
  fake_.fail("finish");
  const Copy copy{0, 0, 4096};
  const auto put = sender.transport->put(peer, std::span(&copy, 1), "n");
  ASSERT_TRUE(put.is_ok());
  sender.transport->cancel(*put);
  EXPECT_THAT(poll_both(&sender, &receiver, [n = 0](const Seen&) mutable { return n++ == 20; }).finished, IsEmpty());
  fake_.fail("finish", 0);
  const Seen seen = poll_both(&sender, &receiver, all_of(1, 0));
  EXPECT_EQ(only_status(seen, *put).code(), Code::kCancelled);
  EXPECT_THAT(poll_both(&sender, &receiver, [n = 0](const Seen&) mutable { return n++ == 5; }).notifications,
              IsEmpty());
}

TEST_F(NixlFaults, ANotificationLeavesWithAnyLaterPollOfItsSender) {
  End sender(kFake), receiver(kFake);
  const PeerId peer = sender.add(receiver);
  const auto put = sender.transport->put(peer, {}, "n");
  ASSERT_TRUE(put.is_ok());
  const Seen seen = poll_both(&sender, nullptr, all_of(1, 0));
  EXPECT_EQ(only_status(seen, *put).to_string(), "ok");
  sender.transport->poll(Clock::steady().now());
  EXPECT_THAT(receiver.transport->poll(Clock::steady().now()).notifications, ElementsAre("n"));
}

TEST_F(NixlFaults, AThousandHandoffsLeakNoHandle) {
  End sender(kFake), receiver(kFake);
  const PeerId peer = sender.add(receiver);
  const int64_t live = fake_.live_handles();
  for (int i = 0; i < 1000; ++i) {
    const uint64_t block = static_cast<uint64_t>(i) % 128;
    const Copy copies[] = {{block * 8192, 0, 4096}, {block * 4096, 8192, 4096}};
    const auto put = sender.transport->put(peer, copies, "n");
    ASSERT_TRUE(put.is_ok());
    if (i % 10 == 3) sender.transport->cancel(*put);
    const Seen seen = poll_both(&sender, &receiver, all_of(1, i % 10 == 3 ? 0 : 1));
    ASSERT_EQ(only_status(seen, *put).code(), i % 10 == 3 ? Code::kCancelled : Code::kOk);
  }
  EXPECT_EQ(fake_.live_handles(), live);
}

TEST_F(NixlFaults, AnEndMayGoWithPutsInFlight) {
  End receiver(kFake);
  {
    End sender(kFake);
    const PeerId peer = sender.add(receiver);
    fake_.fail("finish");
    const Copy copy{0, 0, 4096};
    ASSERT_TRUE(sender.transport->put(peer, std::span(&copy, 1), "n").is_ok());
  }
}

}  // namespace
}  // namespace dynamo::transfer
