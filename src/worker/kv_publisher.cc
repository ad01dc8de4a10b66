#include "worker/kv_publisher.h"

#include <boost/asio/post.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include "wire/bus_messages.h"

namespace dynamo::worker {
namespace {

constexpr size_t kMostBlocksPerMessage = 32U << 10;  // 256 KiB, well within a message

size_t blocks_of(const kv::KvEvent& event) {
  if (const auto* stored = std::get_if<kv::BlocksStored>(&event)) return stored->blocks.size();
  if (const auto* removed = std::get_if<kv::BlocksRemoved>(&event)) return removed->blocks.size();
  return 1;
}

wire::KvChange change_of(kv::KvEvent event) {
  if (auto* stored = std::get_if<kv::BlocksStored>(&event)) return {.stored = std::move(stored->blocks)};
  if (auto* removed = std::get_if<kv::BlocksRemoved>(&event)) return {.removed = std::move(removed->blocks)};
  return {.is_cleared = true};
}

}  // namespace

struct KvPublisher::State : std::enable_shared_from_this<KvPublisher::State> {
  State(boost::asio::any_io_executor publisher, events::EventBus* to, std::string about, uint64_t worker)
      : executor(std::move(publisher)), bus(to), subject(std::move(about)), instance(worker) {}

  boost::asio::any_io_executor executor;
  events::EventBus* bus;
  std::string subject;
  uint64_t instance;
  mutable Mutex mutex;
  // Flat: a snapshot reads all of it under the lock.
  boost::unordered_flat_set<kv::BlockHash, std::hash<kv::BlockHash>> held GUARDED_BY(mutex);
  Summary summary GUARDED_BY(mutex);
  std::vector<kv::KvEvent> pending GUARDED_BY(mutex);  // the last of them is event summary.last_event
  bool is_posted GUARDED_BY(mutex) = false;
  bool is_closed GUARDED_BY(mutex) = false;

  void apply(const kv::KvEvent& event) REQUIRES(mutex) {
    if (const auto* stored = std::get_if<kv::BlocksStored>(&event)) {
      for (const kv::BlockHash& block : stored->blocks)
        if (held.insert(block).second) summary.digest += block.bits;
    } else if (const auto* removed = std::get_if<kv::BlocksRemoved>(&event)) {
      for (const kv::BlockHash& block : removed->blocks)
        if (held.erase(block) > 0) summary.digest -= block.bits;
    } else {
      held.clear();
      summary.digest = 0;
    }
    summary.blocks = held.size();
    ++summary.last_event;
  }

  void publish() {
    std::vector<kv::KvEvent> events;
    uint64_t first = 0;
    {
      MutexLock lock(mutex);
      is_posted = false;
      if (is_closed) return;
      events.swap(pending);
      first = summary.last_event + 1 - events.size();
    }
    for (size_t at = 0; at < events.size();) {
      wire::KvEvents message;
      message.instance = instance;
      message.first_event = first + at;
      for (size_t blocks = 0; at < events.size() && blocks < kMostBlocksPerMessage; ++at) {
        blocks += blocks_of(events[at]);
        message.changes.push_back(change_of(std::move(events[at])));
      }
      bus->publish(subject, wire::to_bytes(message));
    }
  }
};

KvPublisher::KvPublisher(boost::asio::any_io_executor executor, events::EventBus* bus, std::string subject,
                         uint64_t instance)
    : state_(std::make_shared<State>(std::move(executor), bus, std::move(subject), instance)) {}

KvPublisher::~KvPublisher() {
  MutexLock lock(state_->mutex);
  state_->is_closed = true;
}

void KvPublisher::on_kv_event(kv::KvEvent event) {
  MutexLock lock(state_->mutex);
  state_->apply(event);
  if (state_->bus == nullptr) return;
  state_->pending.push_back(std::move(event));
  if (state_->is_posted) return;
  state_->is_posted = true;
  boost::asio::post(state_->executor, [state = state_] { state->publish(); });
}

KvPublisher::Summary KvPublisher::summary() const {
  MutexLock lock(state_->mutex);
  return state_->summary;
}

std::pair<KvPublisher::Summary, std::vector<kv::BlockHash>> KvPublisher::snapshot() const {
  MutexLock lock(state_->mutex);
  return {state_->summary, std::vector<kv::BlockHash>(state_->held.begin(), state_->held.end())};
}

}  // namespace dynamo::worker
