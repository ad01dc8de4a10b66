// The rate of backend "tcp" between two ends that are started apart: puts of 256 scattered blocks of 64 KiB, two at a time, until they
// are acknowledged. bench/tcp_connections.sh runs it where the network limits each connection.
//
//   tcp_rate_tool receive ADDRESS FILE                    writes into FILE how it is reached, and receives until it is killed
//   tcp_rate_tool send ADDRESS FILE LEAST MOST SECONDS    prints GB/s after a second of warming up, for so many connections
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <random>

#include <fmt/format.h>

#include "base/check.h"
#include "base/shared_memory.h"
#include "transfer/kv_transport.h"

namespace dynamo::transfer {
namespace {

constexpr uint64_t kBlockBytes = 64U << 10;
constexpr uint64_t kPutBlocks = 256;
constexpr uint64_t kPoolBlocks = 4096;  // 256 MiB: far more than the caches hold
constexpr size_t kPutsAtOnce = 2;

struct End {
  End(std::string host, TcpConnections connections) {
    auto created = SharedMemory::create(kPoolBlocks * kBlockBytes);
    CHECK_OK(created);
    memory = std::move(*created);
    std::memset(memory.data(), 1, memory.bytes());  // its pages are there
    TransportOptions options;
    options.pool = memory.memory();
    options.name = host;
    options.host = std::move(host);
    options.tcp = connections;
    auto made = make_tcp_transport(std::move(options));
    CHECK_OK(made);
    transport = std::move(*made);
  }

  SharedMemory memory;
  std::unique_ptr<KvTransport> transport;
};

[[noreturn]] void receive(const std::string& host, const std::string& file) {
  const End end(host, {});
  std::ofstream(file + ".new", std::ios::binary) << end.transport->metadata();
  std::filesystem::rename(file + ".new", file);
  for (;;) end.transport->poll(Clock::steady().now() + std::chrono::seconds(1));
}

// Returns: bytes of puts that finished until `until`.
uint64_t send_until(Time until, KvTransport* transport, PeerId peer, size_t* in_flight) {
  static std::vector<uint64_t> order = [] {
    std::vector<uint64_t> blocks(kPoolBlocks);
    std::iota(blocks.begin(), blocks.end(), 0);
    std::ranges::shuffle(blocks, std::mt19937_64(1));
    return blocks;
  }();
  uint64_t bytes = 0;
  while (Clock::steady().now() < until) {
    for (; *in_flight < kPutsAtOnce; ++*in_flight) {
      std::ranges::rotate(order, order.begin() + kPutBlocks);
      std::vector<Copy> copies;
      for (uint64_t at = 0; at < kPutBlocks; ++at)
        copies.push_back({order[at] * kBlockBytes, order[kPoolBlocks - 1 - at] * kBlockBytes, kBlockBytes});
      CHECK_OK(transport->put(peer, copies, "here"));
    }
    for (const FinishedPut& put : transport->poll(until).finished) {
      CHECK(put.status.is_ok());
      bytes += kPutBlocks * kBlockBytes;
      --*in_flight;
    }
  }
  return bytes;
}

void send(const std::string& host, const std::string& file, TcpConnections connections, int seconds) {
  const End end(host, connections);
  std::ifstream in(file, std::ios::binary);
  auto peer = end.transport->add_peer(std::string(std::istreambuf_iterator<char>(in), {}));
  CHECK_OK(peer);
  size_t in_flight = 0;
  const Time start = Clock::steady().now() + std::chrono::seconds(1);
  send_until(start, end.transport.get(), *peer, &in_flight);
  const Time stop = start + std::chrono::seconds(seconds);
  const uint64_t bytes = send_until(stop, end.transport.get(), *peer, &in_flight);
  fmt::print("{:.3f}\n", static_cast<double>(bytes) / seconds / 1e9);
}

}  // namespace
}  // namespace dynamo::transfer

int main(int count, char** arguments) {
  using namespace dynamo::transfer;
  const std::vector<std::string> words(arguments + 1, arguments + count);
  if (words.size() == 3 && words[0] == "receive") receive(words[1], words[2]);
  if (words.size() != 6 || words[0] != "send") {
    fmt::print(stderr, "tcp_rate_tool receive ADDRESS FILE | send ADDRESS FILE LEAST MOST SECONDS\n");
    return 2;
  }
  send(words[1], words[2], {.least = std::stoul(words[3]), .most = std::stoul(words[4])}, std::stoi(words[5]));
}
