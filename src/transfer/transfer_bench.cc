// What moving KV blocks costs between two processes of one machine: 256 blocks of 64 KiB per put, scattered, until the receiver has
// seen the notification; beside it, in the same run, what the machine can do: memcpy of the same blocks, and a plain socket.
//
// `bytes_per_second` of a put counts the blocks; `notify` is there and back divided by two, with both ends polling.
#include <benchmark/benchmark.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <numeric>
#include <random>

#include <fmt/format.h>

#include "base/check.h"
#include "base/shared_memory.h"
#include "transfer/kv_transport.h"

namespace dynamo::transfer {
namespace {

constexpr uint64_t kBlocks = 256;
constexpr uint64_t kBlockBytes = 64U << 10;
constexpr uint64_t kPoolBlocks = 4096;  // 256 MiB: far more than the caches hold

using Make = Result<std::unique_ptr<KvTransport>> (*)(TransportOptions);

// Other blocks at each call, so that nothing but the pool's start is in a cache.
class BlockList {
 public:
  BlockList() : order_(kPoolBlocks) {
    std::iota(order_.begin(), order_.end(), 0);
    std::shuffle(order_.begin(), order_.end(), std::mt19937_64(1));
  }
  const std::vector<Copy>& next() {
    copies_.clear();
    for (uint64_t at = 0; at < kBlocks; ++at, ++from_)
      copies_.push_back({order_[from_ % kPoolBlocks] * kBlockBytes, order_[(from_ * 7 + 3) % kPoolBlocks] * kBlockBytes,
                         kBlockBytes});
    return copies_;
  }

 private:
  std::vector<uint64_t> order_;
  uint64_t from_ = 0;
  std::vector<Copy> copies_;
};

// A pool whose pages are there.
SharedMemory pool() {
  auto memory = SharedMemory::create(kPoolBlocks * kBlockBytes);
  CHECK_OK(memory);
  std::memset(memory->data(), 1, memory->bytes());
  return std::move(*memory);
}

std::unique_ptr<KvTransport> transport(Make make, const SharedMemory& memory, std::string name) {
  TransportOptions options;
  options.pool = memory.memory();
  options.name = std::move(name);
  auto made = make(options);
  CHECK_OK(made);
  return std::move(*made);
}

// What a process of its own does, from a socket's end.
class Child {
 public:
  explicit Child(const std::function<void(int)>& run) {
    int ends[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    const pid_t parent = ::getpid();
    process_ = ::fork();
    CHECK(process_ >= 0);
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() == parent) run(ends[1]);
      ::_exit(0);
    }
    ::close(ends[1]);
    socket_ = ends[0];
  }
  ~Child() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    ::close(socket_);
  }
  int socket() const { return socket_; }

 private:
  pid_t process_ = -1;
  int socket_ = -1;
};

std::string read_metadata(int socket) {
  std::string bytes(4096, '\0');
  const ssize_t count = ::read(socket, bytes.data(), bytes.size());
  CHECK(count > 0);
  return bytes.substr(0, static_cast<size_t>(count));
}

void write_metadata(int socket, const std::string& bytes) {
  CHECK(::write(socket, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

Time much_later() {
  return Clock::steady().now() + std::chrono::seconds(1);
}

// Sends every notification back.
void answer(Make make, int socket) {
  const SharedMemory memory = pool();
  const auto end = transport(make, memory, "answering");
  write_metadata(socket, end->metadata());
  auto peer = end->add_peer(read_metadata(socket));
  CHECK_OK(peer);
  for (;;) {
    for (std::string& notification : end->poll(much_later()).notifications)
      CHECK_OK(end->put(*peer, {}, std::move(notification)));
  }
}

// An end here, and one that answers.
struct Pair {
  explicit Pair(Make make)
      : child([make](int socket) { answer(make, socket); }), end(transport(make, memory, "asking")) {
    auto added = end->add_peer(read_metadata(child.socket()));
    CHECK_OK(added);
    peer = *added;
    write_metadata(child.socket(), end->metadata());
  }
  void put(const std::vector<Copy>& copies) {
    CHECK_OK(end->put(peer, copies, "here"));
    while (end->poll(much_later()).notifications.empty()) {
    }
  }

  Child child;
  SharedMemory memory = pool();
  std::unique_ptr<KvTransport> end;
  PeerId peer = 0;
};

void BM_Put(benchmark::State& state, Make make) {
  Pair pair(make);
  BlockList list;
  for (uint64_t warm = 0; warm < 2 * kPoolBlocks / kBlocks; ++warm) pair.put(list.next());
  for (auto _ : state) pair.put(list.next());
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBlocks * kBlockBytes));
}

void BM_Notify(benchmark::State& state, Make make) {
  Pair pair(make);
  for (int warm = 0; warm < 100; ++warm) pair.put({});
  for (auto _ : state) {
    const Time start = Clock::steady().now();
    pair.put({});
    state.SetIterationTime(std::chrono::duration<double>(Clock::steady().now() - start).count() / 2);
  }
}

void BM_Memcpy(benchmark::State& state) {
  const SharedMemory from = pool();
  const SharedMemory to = pool();
  BlockList list;
  for (auto _ : state) {
    for (const Copy& copy : list.next()) std::memcpy(to.data() + copy.to, from.data() + copy.from, copy.bytes);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBlocks * kBlockBytes));
}

// All of `parts` by one of sendmsg and recvmsg. Returns: false if the other end is gone.
template <class Call>
bool pass(Call call, int socket, std::span<iovec> parts) {
  while (!parts.empty()) {
    msghdr message = {};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    ssize_t count = call(socket, &message, MSG_NOSIGNAL);
    if (count <= 0) return false;
    for (; !parts.empty() && count >= static_cast<ssize_t>(parts.front().iov_len); parts = parts.subspan(1))
      count -= static_cast<ssize_t>(parts.front().iov_len);
    if (parts.empty()) break;
    parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + count;
    parts.front().iov_len -= static_cast<size_t>(count);
  }
  return true;
}

// Blocking sockets that both know the blocks beforehand: each from its place into its place, one byte back.
void BM_PlainSocket(benchmark::State& state) {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  CHECK(::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(listener, 1) == 0);
  CHECK(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  const auto parts_of = [](const std::vector<Copy>& copies, std::byte* pool, uint64_t Copy::* offset) {
    std::vector<iovec> parts;
    for (const Copy& copy : copies) parts.push_back({pool + copy.*offset, copy.bytes});
    return parts;
  };
  const Child child([&](int) {
    const int socket = ::accept(listener, nullptr, nullptr);
    const SharedMemory memory = pool();
    BlockList list;
    for (;;) {
      std::vector<iovec> parts = parts_of(list.next(), memory.data(), &Copy::to);
      if (!pass(::recvmsg, socket, parts) || ::send(socket, "k", 1, MSG_NOSIGNAL) != 1) return;
    }
  });
  ::close(listener);
  const SharedMemory memory = pool();
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  const int one = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  CHECK(::connect(socket, reinterpret_cast<sockaddr*>(&address), size) == 0);
  BlockList list;
  const auto round = [&] {
    std::vector<iovec> parts = parts_of(list.next(), memory.data(), &Copy::from);
    char done = 0;
    CHECK(pass(::sendmsg, socket, parts) && ::recv(socket, &done, 1, 0) == 1);
  };
  for (uint64_t warm = 0; warm < 2 * kPoolBlocks / kBlocks; ++warm) round();
  for (auto _ : state) round();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBlocks * kBlockBytes));
  ::close(socket);
}

BENCHMARK(BM_Memcpy)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Put, shm, make_shm_transport)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_PlainSocket)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Put, tcp, make_tcp_transport)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Notify, shm, make_shm_transport)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Notify, tcp, make_tcp_transport)->UseManualTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace dynamo::transfer
