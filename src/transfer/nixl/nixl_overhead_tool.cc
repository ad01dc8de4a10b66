// What the backend "nixl" costs above NIXL itself: hand-offs of host memory to another process, from the put to the answer's arrival,
// by our adapter and by two bare programs on the same library, in turns, so that a busy machine is busy for all three.
//   adapter   KvTransport::put() of this module
//   bare      makes its descriptors and its request for each hand-off, as the adapter must
//   reposted  posts one request again and again, which is the least that NIXL can do
// The receiver is a bare program that answers every notification. Usage: nixl_overhead_tool [LIBRARY] [ROUNDS]
#include <dlfcn.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>

#include <fmt/format.h>

#include "transfer/kv_transport.h"
#include "transfer/nixl/envelope.h"
#include "transfer/nixl/nixl_api.h"

namespace dynamo::transfer {
namespace {

constexpr size_t kPoolBytes = 64U << 20;
const std::string kNotification = "n";  // what the adapter sends for an empty one

void expect(int code) {
  if (code >= 0) return;
  fmt::print(stderr, "{}\n", nixl::say_code(code));
  std::abort();
}

void write_all(int fd, const std::string& text) {
  const size_t size = text.size();
  CHECK(::write(fd, &size, sizeof size) == ssize_t{sizeof size});
  CHECK(::write(fd, text.data(), size) == static_cast<ssize_t>(size));
}
std::string read_all(int fd) {
  size_t size = 0;
  CHECK(::read(fd, &size, sizeof size) == ssize_t{sizeof size});
  std::string text(size, 0);
  CHECK(::read(fd, text.data(), size) == static_cast<ssize_t>(size));
  return text;
}

// An agent with its pool, as NIXL's own examples make one.
struct Bare {
  Bare(const nixl::Api& library, std::string agent_name) : api(library), name(std::move(agent_name)) {
    const nixl::AgentConfig config;
    expect(api.create_configured_agent(name.c_str(), &config, &agent));
    nixl::MemoryList* memories = nullptr;
    nixl::Params* params = nullptr;
    expect(api.get_plugin_params(agent, "UCX", &memories, &params));
    nixl::Backend* backend = nullptr;
    expect(api.create_backend(agent, "UCX", params, &backend));
    nixl::RegistrationList* list = nullptr;
    expect(api.create_reg_dlist(nixl::kDram, &list));
    expect(api.reg_dlist_add_desc(list, base(), pool.size(), 0, "", 0));
    expect(api.register_mem(agent, list, nullptr));
    expect(api.create_notif_map(&notifications));
  }
  uintptr_t base() const { return reinterpret_cast<uintptr_t>(pool.data()); }
  std::string metadata() const {
    void* data = nullptr;
    size_t bytes = 0;
    expect(api.get_local_md(agent, &data, &bytes));
    return nixl::seal(
        {.agent = name, .address = base(), .bytes = pool.size(), .blob = std::string(static_cast<char*>(data), bytes)});
  }
  void load(const std::string& sealed) {
    peer = nixl::unseal(sealed).value();
    char* loaded = nullptr;
    expect(api.load_remote_md(agent, peer.blob.data(), peer.blob.size(), &loaded));
  }
  nixl::TransferList* list(uintptr_t at, std::span<const Copy> copies, bool is_local) const {
    nixl::TransferList* made = nullptr;
    expect(api.create_xfer_dlist(nixl::kDram, &made));
    for (const Copy& copy : copies)
      expect(api.xfer_dlist_add_desc(made, at + (is_local ? copy.from : copy.to), copy.bytes, 0));
    return made;
  }
  nixl::Request* request(std::span<const Copy> copies) const {
    nixl::TransferList* local = list(base(), copies, true);
    nixl::TransferList* remote = list(peer.address, copies, false);
    nixl::Request* made = nullptr;
    expect(api.create_xfer_req(agent, nixl::kWrite, local, remote, peer.agent.c_str(), &made, with_notification));
    expect(api.destroy_xfer_dlist(local));
    expect(api.destroy_xfer_dlist(remote));
    return made;
  }
  // Returns: whether notifications came.
  bool poll() const {
    size_t agents = 0;
    expect(api.get_notifs(agent, notifications, nullptr));
    expect(api.notif_map_size(notifications, &agents));
    return agents > 0;
  }
  void hand_off(nixl::Request* posted) const {
    expect(api.post_xfer_req(agent, posted, nullptr));
    while (true) {
      const int code = api.get_xfer_status(agent, posted);
      expect(code);
      if (code == nixl::kSuccess) break;
    }
    while (!poll()) {
    }
    expect(api.notif_map_clear(notifications));
  }

  const nixl::Api& api;
  const std::string name;
  std::vector<std::byte> pool = std::vector<std::byte>(kPoolBytes, std::byte{1});
  nixl::Agent* agent = nullptr;
  nixl::NotificationMap* notifications = nullptr;
  nixl::OptionalArguments* with_notification = nullptr;
  nixl::Envelope peer;
};

[[noreturn]] void receive(const nixl::Api& api, int in, int out) {
  ::alarm(300);
  Bare end(api, fmt::format("receiver-{}", ::getpid()));
  write_all(out, end.metadata());
  for (int i = 0; i < 2; ++i) end.load(read_all(in));
  write_all(out, "ready");
  while (true) {
    if (!end.poll()) continue;
    const char* from = nullptr;
    expect(api.notif_map_get_agent_at(end.notifications, 0, &from));
    expect(api.gen_notif(end.agent, from, kNotification.data(), kNotification.size(), nullptr));
    expect(api.notif_map_clear(end.notifications));
  }
}

struct Case {
  const char* name;
  size_t blocks;
  size_t bytes;
};

// Every block goes to another place, and no two are neighbours.
std::vector<Copy> copies_of(const Case& one, uint32_t seed) {
  const size_t step = kPoolBytes / 256;
  std::vector<uint64_t> order(one.blocks);
  for (size_t i = 0; i < one.blocks; ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937(seed));
  std::vector<Copy> copies;
  for (size_t i = 0; i < one.blocks; ++i) copies.push_back({i * step, order[i] * step, one.bytes});
  return copies;
}

double microseconds(Duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

void report(const char* name, std::vector<double> times, size_t bytes) {
  std::ranges::sort(times);
  const auto at = [&times](double share) {
    return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
  };
  fmt::print("  {:9} p10 {:9.1f} us  median {:9.1f} us  p90 {:9.1f} us  {:6.2f} GB/s\n", name, at(0.1), at(0.5),
             at(0.9), static_cast<double>(bytes) / at(0.5) / 1e3);
}

int run(const char* library, int rounds) {
  ::setenv("UCX_NET_DEVICES", "lo", /*overwrite=*/0);
  int down[2];
  int up[2];
  CHECK(::pipe(down) == 0 && ::pipe(up) == 0);
  const pid_t child = ::fork();
  const char* path = std::getenv("PATH");
  const auto api = nixl::load({.file = library, .prefixes = nixl::python_prefixes(path == nullptr ? "" : path)});
  if (!api.is_ok()) {
    fmt::print(stderr, "{}\n", api.status().to_string());
    return 1;
  }
  if (child == 0) receive(*api, down[0], up[1]);

  const std::string receiver = read_all(up[0]);
  Bare bare(*api, fmt::format("bare-{}", ::getpid()));
  TransportOptions options;
  std::vector<std::byte> pool(kPoolBytes, std::byte{1});
  options.pool = {.data = pool.data(), .bytes = pool.size()};
  options.name = "adapter";
  options.nixl.file = api->path;
  auto adapter = make_nixl_transport(std::move(options)).value();
  write_all(down[1], bare.metadata());
  write_all(down[1], adapter->metadata());
  CHECK(read_all(up[0]) == "ready");
  bare.load(receiver);
  const PeerId peer = adapter->add_peer(receiver).value();

  void* handle = ::dlopen(api->path.c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto set_text = reinterpret_cast<int (*)(nixl::OptionalArguments*, const void*, size_t)>(
      ::dlsym(handle, "nixl_capi_opt_args_set_notif_msg"));
  const auto set_has =
      reinterpret_cast<int (*)(nixl::OptionalArguments*, bool)>(::dlsym(handle, "nixl_capi_opt_args_set_has_notif"));
  expect(api->create_opt_args(&bare.with_notification));
  expect(set_text(bare.with_notification, kNotification.data(), kNotification.size()));
  expect(set_has(bare.with_notification, true));

  const auto timed = [](auto work) {
    const Time start = Clock::steady().now();
    work();
    return microseconds(Clock::steady().now() - start);
  };
  for (const Case& one : {Case{"256 blocks of 64 KiB", 256, 64U << 10}, Case{"32 blocks of 4 KiB", 32, 4096}}) {
    std::vector<double> by_adapter, by_bare, by_reposted;
    nixl::Request* reposted = bare.request(copies_of(one, 0));
    for (int i = 0; i < rounds; ++i) {
      const std::vector<Copy> copies = copies_of(one, static_cast<uint32_t>(i));
      by_adapter.push_back(timed([&] {
        CHECK_OK(adapter->put(peer, copies, ""));
        for (size_t news = 0; news < 2;) {
          const Progress progress = adapter->poll(Clock::steady().now() + std::chrono::seconds(10));
          for (const FinishedPut& put : progress.finished) CHECK(put.status.is_ok());
          news += progress.finished.size() + progress.notifications.size();
        }
      }));
      by_bare.push_back(timed([&] {
        nixl::Request* request = bare.request(copies);
        bare.hand_off(request);
        expect(api->release_xfer_req(bare.agent, request));
        expect(api->destroy_xfer_req(request));
      }));
      by_reposted.push_back(timed([&] { bare.hand_off(reposted); }));
    }
    expect(api->release_xfer_req(bare.agent, reposted));
    expect(api->destroy_xfer_req(reposted));
    fmt::print("{}, {} rounds\n", one.name, rounds);
    report("adapter", by_adapter, one.blocks * one.bytes);
    report("bare", by_bare, one.blocks * one.bytes);
    report("reposted", by_reposted, one.blocks * one.bytes);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return 0;
}

}  // namespace
}  // namespace dynamo::transfer

int main(int count, char** arguments) {
  return dynamo::transfer::run(count > 1 ? arguments[1] : "", count > 2 ? std::atoi(arguments[2]) : 300);
}
