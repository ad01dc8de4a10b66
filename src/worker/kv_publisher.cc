#include "worker/kv_publisher.h"

#include <algorithm>

#include <boost/asio/post.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include "wire/bus_messages.h"

namespace dynamo::worker {
namespace {

constexpr size_t kMostBlocksPerMessage = 32U << 10;  // 256 KiB, well within a message

wire::KvChange change_of(kv::KvEvent event) {
  wire::KvChange change{.tier = event.tier, .is_cleared = event.what == kv::KvEvent::What::kCleared};
  (event.what == kv::KvEvent::What::kStored ? change.stored : change.removed) = std::move(event.blocks);
  return change;
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
  kv::PerTier<boost::unordered_flat_set<kv::BlockHash, std::hash<kv::BlockHash>>> held GUARDED_BY(mutex);
  Summary summary GUARDED_BY(mutex);
  std::vector<kv::KvEvent> pending GUARDED_BY(mutex);  // the last of them is event summary.last_event
  bool is_posted GUARDED_BY(mutex) = false;
  bool is_closed GUARDED_BY(mutex) = false;

  void apply(const kv::KvEvent& event) REQUIRES(mutex) {
    auto& blocks = held[event.tier];
    uint64_t digest = event.tier == kv::Tier::kDevice ? summary.digest : 0;
    if (event.what == kv::KvEvent::What::kCleared) {
      blocks.clear();
      digest = 0;
    }
    for (const kv::BlockHash& block : event.blocks) {
      if (event.what == kv::KvEvent::What::kStored) {
        if (blocks.insert(block).second) digest += block.bits;
      } else if (blocks.erase(block) > 0) {
        digest -= block.bits;
      }
    }
    if (event.tier == kv::Tier::kDevice) {
      summary.digest = digest;
      summary.blocks = blocks.size();
    }
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
        blocks += std::max<size_t>(events[at].blocks.size(), 1);
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

std::pair<KvPublisher::Summary, kv::PerTier<std::vector<kv::BlockHash>>> KvPublisher::snapshot() const {
  MutexLock lock(state_->mutex);
  kv::PerTier<std::vector<kv::BlockHash>> held;
  for (size_t tier = 0; tier < kv::kTiers; ++tier)
    held.all[tier].assign(state_->held.all[tier].begin(), state_->held.all[tier].end());
  return {state_->summary, std::move(held)};
}

}  // namespace dynamo::worker
