#include "events/nats/nats_bus.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/log.h"

namespace dynamo::events {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr milliseconds kDialTimeout(2000);
constexpr milliseconds kFlushTimeout(5000);  // a server that needs longer counts as gone

Status lost(const Status& why) {
  return unavailable(fmt::format("the NATS connection broke; what it carried may be lost ({})", why.text()));
}

}  // namespace

class NatsBus::NatsSubscription final : public Subscription {
 public:
  NatsSubscription(NatsBus& bus, uint64_t id, DeliveryQueue& queue) : bus_(bus), id_(id), queue_(queue) {}
  ~NatsSubscription() override {
    queue_.end();
    bus_.end_subscription(id_);
  }

 private:
  NatsBus& bus_;
  const uint64_t id_;
  DeliveryQueue& queue_;  // the bus holds it until end_subscription()
};

Result<std::unique_ptr<NatsBus>> NatsBus::connect(NatsOptions options, Time until) {
  TRY(NatsDialer dialer, NatsDialer::make(std::move(options)));
  std::unique_ptr<NatsBus> bus(new NatsBus(std::move(dialer)));
  for (;;) {
    const Status status = bus->dial();
    if (status.is_ok()) break;
    if (status.code() != Code::kUnavailable) return status;
    const Time next = SteadyClock::now() + bus->dialer_.pause();
    if (next >= until) {
      return unavailable(fmt::format(
          "no NATS server answers at {} (last: {}); start nats-server there or correct the address (NATS_SERVER)",
          bus->dialer_.servers(), status.text()));
    }
    std::this_thread::sleep_until(next);
  }
  bus->sender_ = std::thread([&bus = *bus] { bus.run(); });
  return bus;
}

NatsBus::NatsBus(NatsDialer dialer) : dialer_(std::move(dialer)) {}

NatsBus::~NatsBus() {
  {
    MutexLock lock(mu_);
    CHECK(wanted_.empty());
    is_stopping_ = true;
    has_work_.notify_one();
  }
  if (sender_.joinable()) sender_.join();
}

void NatsBus::publish(std::string_view subject, std::string_view data) {
  CHECK(is_subject(subject) && data.size() <= kMaxMessageBytes);
  MutexLock lock(mu_);
  unsent_.push(subject, data);
  ++published_;
  for (; unsent_.bytes() > kMaxUnsentBytes; ++dropped_) unsent_.drop_oldest();
  wake_sender();
}

std::unique_ptr<Subscription> NatsBus::subscribe(std::string pattern, OnMessage on_message) {
  CHECK(is_pattern(pattern));
  auto queue = std::make_shared<DeliveryQueue>(std::move(on_message), dropped_);
  MutexLock lock(mu_);
  auto subscription = std::make_unique<NatsSubscription>(*this, ++last_subscription_, *queue);
  wanted_.emplace(last_subscription_, Wanted{std::move(pattern), std::move(queue)});
  subscriptions_changed_ = true;
  wake_sender();
  return subscription;
}

void NatsBus::end_subscription(uint64_t id) {
  MutexLock lock(mu_);
  wanted_.erase(id);
  subscriptions_changed_ = true;
  wake_sender();
}

Status NatsBus::flush(Time until) {
  MutexLock lock(mu_);
  const auto flush = flushes_.insert(flushes_.end(), Flush{.published = published_});
  wake_sender();
  while (!flush->result.has_value() && flush_done_.wait_until(mu_, until) != std::cv_status::timeout) {
  }
  Status result = deadline("the NATS server did not answer in time");
  if (flush->result.has_value()) {
    result = *flush->result;
  } else if (!is_connected_) {
    result = unavailable("no NATS server is connected");
  }
  flushes_.erase(flush);
  return result;
}

void NatsBus::run() {
  while (std::optional<Work> work = next_work()) {
    Status status = work->why_closed ? unavailable(*work->why_closed) : carry_out(*work);
    put_back(std::move(work->batch));
    if (status.is_ok()) {
      if (work->has_flush) finish_flushes();
      continue;
    }
    leave(status);
    come_back();
  }
  connection_.reset();
}

bool NatsBus::has_work() const {
  const auto is_new = [](const Flush& flush) { return !flush.is_asked; };
  return is_stopping_ || why_closed_ || subscriptions_changed_ || !unsent_.is_empty() ||
         std::any_of(flushes_.begin(), flushes_.end(), is_new);
}

void NatsBus::wake_sender() {
  if (std::exchange(is_sender_waiting_, false)) has_work_.notify_one();
}

std::optional<NatsBus::Work> NatsBus::next_work() {
  MutexLock lock(mu_);
  while (!has_work()) {
    is_sender_waiting_ = true;
    has_work_.wait(mu_);
  }
  if (is_stopping_) return std::nullopt;
  Work work;
  work.why_closed = why_closed_;
  if (why_closed_) return work;
  if (std::exchange(subscriptions_changed_, false)) {
    for (const uint64_t id : connection_->subscriptions()) {
      if (!wanted_.contains(id)) work.ended_subscriptions.push_back(id);
    }
    for (const auto& [id, wanted] : wanted_) {
      if (!connection_->is_subscribed(id)) work.new_subscriptions.emplace(id, wanted);
    }
  }
  work.batch = unsent_.take();
  for (Flush& flush : flushes_) {
    if (flush.is_asked || flush.published > published_ - unsent_.count()) continue;
    flush.is_asked = true;
    work.has_flush = true;
  }
  return work;
}

Status NatsBus::carry_out(Work& work) {
  for (const uint64_t id : work.ended_subscriptions) connection_->unsubscribe(id);
  for (auto& [id, wanted] : work.new_subscriptions) {
    TRY_STATUS(connection_->subscribe(id, wanted.pattern, std::move(wanted.queue)));
  }
  TRY_STATUS(send(work.batch));
  const bool has_something_to_free = !work.ended_subscriptions.empty();
  return work.has_flush || has_something_to_free ? connection_->flush(kFlushTimeout) : Status();
}

// Leaves in `batch` what a later connection may send.
Status NatsBus::send(MessageBatch& batch) {
  for (; !batch.is_empty(); batch.pop()) {
    const Status status = connection_->publish(batch.front());
    if (status.is_ok()) continue;
    if (status.code() == Code::kUnavailable) return status;
    ++dropped_;
    if (status.code() == Code::kInvalid) {
      if (!std::exchange(has_logged_refusal_, true))
        LOG(warn, "event refused", {"server", dialer_.server()}, {"bytes", batch.front().data.size()},
            {"why", status.text()});
      continue;
    }
    batch.pop();  // perhaps sent, and nothing may arrive twice
    return status;
  }
  return {};
}

void NatsBus::put_back(MessageBatch batch) {
  if (batch.is_empty()) return;
  MutexLock lock(mu_);
  unsent_.put_back(std::move(batch));
  for (; unsent_.bytes() > kMaxUnsentBytes; ++dropped_) unsent_.drop_oldest();
}

void NatsBus::finish_flushes() {
  MutexLock lock(mu_);
  for (Flush& flush : flushes_) {
    if (flush.is_asked) flush.result = Status();
  }
  flush_done_.notify_all();
}

Status NatsBus::dial() {
  has_logged_refusal_ = false;
  auto opened = dialer_.dial(kDialTimeout, [this](std::string why) { on_closed(std::move(why)); });
  if (!opened.is_ok()) return opened.status();
  connection_ = std::move(*opened);
  MutexLock lock(mu_);
  subscriptions_changed_ = true;
  is_connected_ = !why_closed_.has_value();
  return {};
}

void NatsBus::leave(const Status& why) {
  {
    MutexLock lock(mu_);
    is_connected_ = false;
    for (Flush& flush : flushes_) flush.result = lost(why);
    flush_done_.notify_all();
  }
  LOG(warn, "event bus away", {"server", dialer_.server()}, {"why", why.text()});
  connection_.reset();
  MutexLock lock(mu_);
  why_closed_.reset();  // nothing is left that could set it
}

void NatsBus::come_back() {
  do {
    const Time next = SteadyClock::now() + dialer_.pause();
    MutexLock lock(mu_);
    while (!is_stopping_ && has_work_.wait_until(mu_, next) != std::cv_status::timeout) {
    }
    if (is_stopping_) return;
  } while (!dial().is_ok());
  LOG(info, "event bus back", {"server", dialer_.server()});
}

void NatsBus::on_closed(std::string why) {
  MutexLock lock(mu_);
  why_closed_ = std::move(why);
  is_connected_ = false;
  wake_sender();
}

}  // namespace dynamo::events
