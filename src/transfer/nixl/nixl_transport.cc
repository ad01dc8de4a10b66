// The backend "nixl": one NIXL agent with NIXL's UCX backend, driven by poll().
//
// A put is a row of write requests, each of at most kMostPartBytes so that a slow peer shows signs of life, and then a notification
// sent for itself. It is not attached to the last request, as NIXL allows: releasing such a request may still send it, and a
// cancelled put must stay silent. A put without copies begins with a read of one byte, which shows that the peer is there.
// NIXL does nothing between our calls and has nothing to wait on, so poll() asks again and again, and sleeps longer and longer.
#include <arpa/inet.h>
#include <sched.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "base/mutex.h"
#include "base/random.h"
#include "transfer/kv_transport.h"
#include "transfer/nixl/envelope.h"
#include "transfer/nixl/nixl_api.h"

namespace dynamo::transfer {
namespace {

using nixl::say_code;

constexpr uint64_t kMostPartBytes = 64U << 20;
constexpr size_t kMostPartCopies = 8192;
constexpr size_t kMostActiveParts = 2;
// How long poll() asks without sleeping after the last news, while puts are in flight and while none are.
constexpr Duration kSpinBusy = std::chrono::milliseconds(2);
constexpr Duration kSpinIdle = std::chrono::microseconds(200);
constexpr Duration kShortestSleep = std::chrono::microseconds(20);
constexpr Duration kLongestSleepBusy = std::chrono::microseconds(50);
constexpr Duration kLongestSleepIdle = std::chrono::milliseconds(1);
// Every notification has it in front, so that an empty one is something to NIXL too.
constexpr char kMark = 'n';

int memory_type(MemoryKind kind) {
  return kind == MemoryKind::kHost ? nixl::kDram : nixl::kVram;
}

bool is_loopback(const std::string& host) {
  in_addr four{};
  in6_addr six{};
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24) == 127;
  return inet_pton(AF_INET6, host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six) != 0;
}

std::string unique_name(const std::string& name) {
  return fmt::format("{}-{:016x}", name, random_number());
}

Status failure(std::string_view what, int code) {
  const std::string text = fmt::format("{}: {}", what, say_code(code));
  return code == nixl::kBackend ? unavailable(text) : internal(text);
}

// The same copies with neighbours joined and none above kMostPartBytes; empty ones are left out.
std::vector<Copy> joined(std::span<const Copy> copies) {
  std::vector<Copy> joined;
  joined.reserve(copies.size());
  for (Copy copy : copies) {
    if (!joined.empty()) {
      Copy& last = joined.back();
      const bool is_next = last.from + last.bytes == copy.from && last.to + last.bytes == copy.to;
      if (is_next && last.bytes + copy.bytes <= kMostPartBytes) {
        last.bytes += copy.bytes;
        continue;
      }
    }
    while (copy.bytes > 0) {
      const uint64_t bytes = std::min(copy.bytes, kMostPartBytes);
      joined.push_back({copy.from, copy.to, bytes});
      copy = {copy.from + bytes, copy.to + bytes, copy.bytes - bytes};
    }
  }
  return joined;
}

class NixlTransport final : public KvTransport {
 public:
  NixlTransport(TransportOptions options, nixl::Api api)
      : options_(std::move(options)), api_(std::move(api)), name_(unique_name(options_.name)) {}
  ~NixlTransport() override;
  // Before anything else. Errors: kUnavailable, kInternal.
  Status open();

  std::string_view backend() const override { return "nixl"; }
  bool keeps_permits() const override {
    return false;
  }  // the peer's program takes no part, and what UCX has begun goes on
  const std::string& metadata() const override { return metadata_; }
  Result<PeerId> add_peer(std::string_view metadata) override;
  void drop_peer(PeerId id) override;
  Result<PutId> put(PeerId to, std::span<const Copy> copies, std::string notification, PermitId permit) override;
  void cancel(PutId id) override;
  Progress poll(Time until) override;
  void wake() override;

 private:
  struct Peer {
    nixl::Envelope remote;
    Time last_sign{};
  };
  struct Put {
    PeerId peer = 0;
    std::vector<Copy> copies;
    size_t next = 0;             // the first of `copies` that is in no request yet
    bool is_to_be_read = false;  // no copies: a read of one byte is still to be started
    std::vector<nixl::Request*> active;
    std::string notification;  // kMark in front
    bool is_cancelled = false;
    Time since{};
  };

  Status create_agent();
  Result<nixl::RegistrationList*> register_memory(const std::byte* data, size_t bytes, int type, int device);
  Status read_metadata();

  // Starts requests until enough are active or all are.
  Status start_parts(Put* put, const Peer& peer);
  Status start(Put* put, const Peer& peer, std::span<const Copy> copies, nixl::Operation operation);
  // Brings a put forward. Returns: how it finished, or nothing yet.
  std::optional<Status> step(Put* put, Peer* peer, Time now);
  void drive(Time now);
  void take_notifications(Time now, std::vector<std::string>* into);
  // Finishes a peer's puts; what of them is on its way is left to NIXL to end.
  void finish_puts_of(PeerId peer, const Status& status);
  void finish(PutId id, Status status);
  // Has NIXL know the agent. Errors: kUnavailable, kCorrupt.
  Status connect(const nixl::Envelope& remote);
  // Finishes the puts to an agent, and has NIXL forget it: the next put begins with a new connection.
  void lose(const std::string& agent, const Status& status);
  void release(Put* put);
  bool take_wake();
  void sleep_until(Time due);

  const TransportOptions options_;
  const nixl::Api api_;
  const std::string name_;  // of the agent
  std::string metadata_;

  nixl::Agent* agent_ = nullptr;
  nixl::Backend* backend_ = nullptr;
  nixl::OptionalArguments* with_backend_ = nullptr;
  nixl::NotificationMap* notifications_ = nullptr;
  std::vector<nixl::RegistrationList*> registered_;
  alignas(64) std::byte scratch_[64] = {};  // what reads of one byte fill

  uint64_t last_id_ = 0;
  std::map<PeerId, Peer> peers_;
  // Agents that NIXL knows. A peer that is dropped stays among them: UCX keeps a connection that this end alone has closed until
  // the peer ends or this one does, and each time that the peer is added again would cost another.
  std::set<std::string> connected_;
  std::map<PutId, Put> puts_;  // in flight, oldest first
  std::vector<FinishedPut> finished_;
  Time last_news_{};
  Time last_drive_{};
  Duration sleep_ = kShortestSleep;

  Mutex mutex_;
  std::condition_variable_any woken_;
  bool is_woken_ GUARDED_BY(mutex_) = false;
};

Status NixlTransport::open() {
  TRY_STATUS(create_agent());
  const PoolMemory& pool = options_.pool;
  TRY(auto* pool_list, register_memory(pool.data, pool.bytes, memory_type(pool.kind), pool.device));
  registered_.push_back(pool_list);
  TRY_STATUS(read_metadata());  // before the scratch is registered, which is nobody else's business
  TRY(auto* scratch_list, register_memory(scratch_, sizeof scratch_, nixl::kDram, /*device=*/0));
  registered_.push_back(scratch_list);
  return {};
}

NixlTransport::~NixlTransport() {
  for (auto& [id, put] : puts_) release(&put);
  for (const std::string& agent : connected_) api_.invalidate_remote_md(agent_, agent.c_str());
  for (nixl::RegistrationList* list : registered_) {
    api_.deregister_mem(agent_, list, with_backend_);
    api_.destroy_reg_dlist(list);
  }
  if (notifications_ != nullptr) api_.destroy_notif_map(notifications_);
  if (with_backend_ != nullptr) api_.destroy_opt_args(with_backend_);
  if (backend_ != nullptr) api_.destroy_backend(backend_);
  if (agent_ != nullptr) api_.destroy_agent(agent_);
}

Status NixlTransport::create_agent() {
  const nixl::AgentConfig config;
  if (const int code = api_.create_configured_agent(name_.c_str(), &config, &agent_); code != nixl::kSuccess)
    return unavailable(fmt::format("making a NIXL agent: {}", say_code(code)));
  nixl::MemoryList* memories = nullptr;
  nixl::Params* params = nullptr;
  if (const int code = api_.get_plugin_params(agent_, "UCX", &memories, &params); code != nixl::kSuccess)
    return unavailable(fmt::format("{} finds no plugin UCX: {}", api_.path, say_code(code)));
  // UCX would otherwise take the device that it finds best, and its peers with it. $UCX_NET_DEVICES has the last word.
  const std::string& host = options_.listen_host.empty() ? options_.host : options_.listen_host;
  int code = is_loopback(host) ? api_.params_add(params, "engine_config", "NET_DEVICES=lo") : nixl::kSuccess;
  if (code == nixl::kSuccess) code = api_.create_backend(agent_, "UCX", params, &backend_);
  api_.destroy_mem_list(memories);
  api_.destroy_params(params);
  if (code != nixl::kSuccess)
    return unavailable(fmt::format("making NIXL's backend UCX: {}; UCX_LOG_LEVEL=info tells more", say_code(code)));
  if (api_.create_opt_args(&with_backend_) != nixl::kSuccess ||
      api_.opt_args_add_backend(with_backend_, backend_) != nixl::kSuccess ||
      api_.create_notif_map(&notifications_) != nixl::kSuccess)
    return internal("NIXL makes no argument lists");
  return {};
}

Result<nixl::RegistrationList*> NixlTransport::register_memory(const std::byte* data, size_t bytes, int type,
                                                               int device) {
  nixl::RegistrationList* list = nullptr;
  int code = api_.create_reg_dlist(type, &list);
  if (code == nixl::kSuccess)
    code =
        api_.reg_dlist_add_desc(list, reinterpret_cast<uintptr_t>(data), bytes, static_cast<uint64_t>(device), "", 0);
  if (code == nixl::kSuccess) code = api_.register_mem(agent_, list, with_backend_);
  if (code == nixl::kSuccess) return list;
  if (list != nullptr) api_.destroy_reg_dlist(list);
  return unavailable(fmt::format("registering {} bytes of memory: {}", bytes, say_code(code)));
}

Status NixlTransport::read_metadata() {
  void* data = nullptr;
  size_t bytes = 0;
  if (const int code = api_.get_local_md(agent_, &data, &bytes); code != nixl::kSuccess)
    return unavailable(fmt::format("reading the agent's metadata: {}", say_code(code)));
  const PoolMemory& pool = options_.pool;
  metadata_ = nixl::seal({.agent = name_,
                          .kind = pool.kind,
                          .device = static_cast<uint32_t>(pool.device),
                          .address = reinterpret_cast<uintptr_t>(pool.data),
                          .bytes = pool.bytes,
                          .blob = std::string(static_cast<const char*>(data), bytes)});
  api_.free_metadata(data);
  if (metadata_.size() > kMostMetadataBytes)
    return internal(
        fmt::format("the agent's metadata has {} bytes, {} are allowed", metadata_.size(), kMostMetadataBytes));
  return {};
}

Result<PeerId> NixlTransport::add_peer(std::string_view metadata) {
  TRY(nixl::Envelope remote, nixl::unseal(metadata));
  if (remote.agent == name_) return unsupported("this metadata is our own; an end is no peer of itself");
  if (remote.kind != MemoryKind::kHost)
    return unsupported("the peer's pool is GPU memory; the backend nixl does host memory only");
  TRY_STATUS(connect(remote));
  const PeerId id = ++last_id_;
  peers_[id] = {.remote = std::move(remote), .last_sign = Time::min()};
  return id;
}

void NixlTransport::drop_peer(PeerId id) {
  finish_puts_of(id, cancelled("the peer was dropped"));
  peers_.erase(id);
}

Result<PutId> NixlTransport::put(PeerId to, std::span<const Copy> copies, std::string notification,
                                 PermitId /*permit*/) {
  const auto found = peers_.find(to);
  if (found == peers_.end()) return not_found(fmt::format("there is no peer {}", to));
  const Peer& peer = found->second;
  if (notification.size() > kMostNotificationBytes)
    return invalid(
        fmt::format("a notification of {} bytes, {} are allowed", notification.size(), kMostNotificationBytes));
  for (const Copy& copy : copies) {
    const auto is_in = [&copy](uint64_t at, uint64_t pool) { return copy.bytes <= pool && at <= pool - copy.bytes; };
    if (!is_in(copy.from, options_.pool.bytes) || !is_in(copy.to, peer.remote.bytes))
      return invalid(fmt::format("{} bytes from {} to {} do not lie in pools of {} and {} bytes", copy.bytes, copy.from,
                                 copy.to, options_.pool.bytes, peer.remote.bytes));
  }
  TRY_STATUS(connect(peer.remote));
  const PutId id = ++last_id_;
  Put& put = puts_[id];
  put.peer = to;
  put.copies = joined(copies);
  put.is_to_be_read = put.copies.empty() && peer.remote.bytes > 0;
  put.notification = kMark + std::move(notification);
  put.since = last_news_ = Clock::steady().now();
  sleep_ = kShortestSleep;
  // What goes wrong from here on is told when the put has finished.
  if (const Status started = start_parts(&put, peer); !started.is_ok()) finish(id, started);
  return id;
}

// Requests that run cannot be called back: UCX may write on after a release. So a cancelled put waits for those of its parts that are
// on their way, after which nothing of it writes into the peer's pool any more.
void NixlTransport::cancel(PutId id) {
  if (const auto found = puts_.find(id); found != puts_.end()) found->second.is_cancelled = true;
}

Progress NixlTransport::poll(Time until) {
  Progress progress;
  while (true) {
    const Time now = Clock::steady().now();
    drive(now);
    take_notifications(now, &progress.notifications);
    progress.finished = std::exchange(finished_, {});
    if (!progress.finished.empty() || !progress.notifications.empty()) {
      last_news_ = now;
      sleep_ = kShortestSleep;
      return progress;
    }
    if (take_wake() || now >= until) return progress;
    if (now - last_news_ < (puts_.empty() ? kSpinIdle : kSpinBusy)) {
      ::sched_yield();  // the peer may share this core
      continue;
    }
    sleep_until(std::min(until, now + sleep_));
    sleep_ = std::min(2 * sleep_, puts_.empty() ? kLongestSleepIdle : kLongestSleepBusy);
  }
}

void NixlTransport::wake() {
  {
    const MutexLock lock(mutex_);
    is_woken_ = true;
  }
  woken_.notify_one();
}

bool NixlTransport::take_wake() {
  const MutexLock lock(mutex_);
  return std::exchange(is_woken_, false);
}

void NixlTransport::sleep_until(Time due) {
  const MutexLock lock(mutex_);
  while (!is_woken_ && woken_.wait_until(mutex_, due) == std::cv_status::no_timeout) {
  }
}

Status NixlTransport::start_parts(Put* put, const Peer& peer) {
  if (put->is_to_be_read) {
    put->is_to_be_read = false;
    const Copy one_byte[] = {{.from = 0, .to = 0, .bytes = 1}};
    return start(put, peer, one_byte, nixl::kRead);
  }
  while (put->next < put->copies.size() && put->active.size() < kMostActiveParts) {
    const std::span<const Copy> left = std::span<const Copy>(put->copies).subspan(put->next);
    size_t count = 1;
    uint64_t bytes = left[0].bytes;
    while (count < left.size() && count < kMostPartCopies && bytes + left[count].bytes <= kMostPartBytes)
      bytes += left[count++].bytes;
    put->next += count;
    TRY_STATUS(start(put, peer, left.subspan(0, count), nixl::kWrite));
  }
  return {};
}

// A read goes to the scratch, a write comes from the pool.
Status NixlTransport::start(Put* put, const Peer& peer, std::span<const Copy> copies, nixl::Operation operation) {
  const PoolMemory& pool = options_.pool;
  const bool is_read = operation == nixl::kRead;
  const auto local_base = reinterpret_cast<uintptr_t>(is_read ? scratch_ : pool.data);
  const auto local_device = static_cast<uint64_t>(is_read ? 0 : pool.device);
  nixl::TransferList* local = nullptr;
  nixl::TransferList* remote = nullptr;
  nixl::Request* request = nullptr;
  int code = api_.create_xfer_dlist(is_read ? nixl::kDram : memory_type(pool.kind), &local);
  if (code == nixl::kSuccess) code = api_.create_xfer_dlist(memory_type(peer.remote.kind), &remote);
  for (const Copy& copy : copies) {
    if (code == nixl::kSuccess)
      code = api_.xfer_dlist_add_desc(local, local_base + copy.from, copy.bytes, local_device);
    if (code == nixl::kSuccess)
      code = api_.xfer_dlist_add_desc(remote, peer.remote.address + copy.to, copy.bytes, peer.remote.device);
  }
  if (code == nixl::kSuccess)
    code = api_.create_xfer_req(agent_, operation, local, remote, peer.remote.agent.c_str(), &request, nullptr);
  if (local != nullptr) api_.destroy_xfer_dlist(local);
  if (remote != nullptr) api_.destroy_xfer_dlist(remote);
  if (code != nixl::kSuccess) return failure("making a request", code);
  put->active.push_back(request);
  code = api_.post_xfer_req(agent_, request, nullptr);
  if (code != nixl::kSuccess && code != nixl::kInProgress) return failure("posting a request", code);
  return {};
}

std::optional<Status> NixlTransport::step(Put* put, Peer* peer, Time now) {
  Status failed;
  std::erase_if(put->active, [&](nixl::Request* request) {
    const int code = api_.get_xfer_status(agent_, request);
    if (code == nixl::kInProgress) return false;
    api_.release_xfer_req(agent_, request);
    api_.destroy_xfer_req(request);
    if (code == nixl::kSuccess) {
      peer->last_sign = last_news_ = now;
    } else {
      failed = failure("writing to the peer", code);
    }
    return true;
  });
  if (!failed.is_ok()) return failed;
  if (put->is_cancelled && put->active.empty()) return cancelled("the put was cancelled");
  if (!put->is_cancelled) {
    if (const Status started = start_parts(put, *peer); !started.is_ok()) return started;
    if (put->active.empty()) {
      const std::string& notification = put->notification;
      const int code =
          api_.gen_notif(agent_, peer->remote.agent.c_str(), notification.data(), notification.size(), nullptr);
      return code == nixl::kSuccess ? Status() : failure("notifying the peer", code);
    }
  }
  if (now - std::max(peer->last_sign, put->since) < options_.patience) return std::nullopt;
  return unavailable(fmt::format("the peer {} gave no sign of life for {} ms", peer->remote.agent,
                                 std::chrono::duration_cast<std::chrono::milliseconds>(options_.patience).count()));
}

void NixlTransport::drive(Time now) {
  // While nobody polls, no peer can give a sign of life.
  if (now - last_drive_ > options_.patience / 2) {
    for (auto& [id, peer] : peers_) peer.last_sign = now;
  }
  last_drive_ = now;
  std::vector<PutId> ids;
  ids.reserve(puts_.size());
  for (const auto& [id, put] : puts_) ids.push_back(id);
  for (const PutId id : ids) {
    const auto found = puts_.find(id);
    if (found == puts_.end()) continue;  // its peer was lost on the way
    if (auto status = step(&found->second, &peers_.at(found->second.peer), now)) finish(id, std::move(*status));
  }
}

void NixlTransport::take_notifications(Time now, std::vector<std::string>* into) {
  // Also drives what is on its way. A failure is no news: what it concerns tells by its own status.
  if (api_.get_notifs(agent_, notifications_, nullptr) != nixl::kSuccess) return;
  size_t agents = 0;
  if (api_.notif_map_size(notifications_, &agents) != nixl::kSuccess || agents == 0) return;
  for (size_t agent = 0; agent < agents; ++agent) {
    const char* name = nullptr;
    size_t count = 0;
    if (api_.notif_map_get_agent_at(notifications_, agent, &name) != nixl::kSuccess ||
        api_.notif_map_get_notifs_size(notifications_, name, &count) != nixl::kSuccess)
      continue;
    for (size_t i = 0; i < count; ++i) {
      const void* data = nullptr;
      size_t bytes = 0;
      if (api_.notif_map_get_notif(notifications_, name, i, &data, &bytes) != nixl::kSuccess) continue;
      const std::string_view text(static_cast<const char*>(data), bytes);
      if (text.starts_with(kMark)) into->emplace_back(text.substr(1));
    }
    for (auto& [id, peer] : peers_) {
      if (peer.remote.agent == name) peer.last_sign = now;
    }
  }
  api_.notif_map_clear(notifications_);
}

void NixlTransport::finish(PutId id, Status status) {
  auto node = puts_.extract(id);
  Put& put = node.mapped();
  release(&put);
  finished_.push_back({id, put.is_cancelled && !status.is_ok() ? cancelled("the put was cancelled") : status});
  // NIXL tells a lost peer from a broken device by nothing; either way its connection has to be made anew.
  if (status.code() == Code::kUnavailable) lose(peers_.at(put.peer).remote.agent, status);
}

void NixlTransport::finish_puts_of(PeerId peer, const Status& status) {
  std::vector<PutId> ids;
  for (const auto& [id, put] : puts_) {
    if (put.peer == peer) ids.push_back(id);
  }
  for (const PutId id : ids) finish(id, status);
}

Status NixlTransport::connect(const nixl::Envelope& remote) {
  if (connected_.contains(remote.agent)) return {};
  char* loaded = nullptr;
  const int code = api_.load_remote_md(agent_, remote.blob.data(), remote.blob.size(), &loaded);
  const std::string name = loaded == nullptr ? "" : loaded;
  std::free(loaded);
  if (code != nixl::kSuccess) return unavailable(fmt::format("loading the peer's metadata: {}", say_code(code)));
  if (name != remote.agent) {
    if (!connected_.contains(name)) api_.invalidate_remote_md(agent_, name.c_str());
    return corrupt(fmt::format("the metadata of agent {} holds that of {}", remote.agent, name));
  }
  connected_.insert(name);
  return {};
}

void NixlTransport::lose(const std::string& agent, const Status& status) {
  if (connected_.erase(agent) == 0) return;  // this is about one of its other puts
  LOG(info, "a peer is gone", {"peer", agent}, {"why", status.text()});
  for (const auto& [id, peer] : peers_) {
    if (peer.remote.agent == agent) finish_puts_of(id, status);
  }
  api_.invalidate_remote_md(agent_, agent.c_str());
}

void NixlTransport::release(Put* put) {
  for (nixl::Request* request : put->active) {
    api_.release_xfer_req(agent_, request);
    api_.destroy_xfer_req(request);
  }
  put->active.clear();
}

}  // namespace

Result<std::unique_ptr<KvTransport>> make_nixl_transport(TransportOptions options) {
  if (options.pool.kind != MemoryKind::kHost)
    return unsupported("the pool is GPU memory; the backend nixl does host memory only");
  TRY(nixl::Api api, nixl::load(options.nixl));
  auto transport = std::make_unique<NixlTransport>(std::move(options), std::move(api));
  TRY_STATUS(transport->open());
  return std::unique_ptr<KvTransport>(std::move(transport));
}

}  // namespace dynamo::transfer
