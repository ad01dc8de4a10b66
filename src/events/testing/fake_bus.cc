#include "events/testing/fake_bus.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/check.h"

namespace dynamo::events {

class FakeBus::FakeSubscription final : public Subscription {
 public:
  FakeSubscription(FakeBus& bus, std::string pattern, OnMessage on_message)
      : pattern(std::move(pattern)), queue(std::move(on_message), bus.dropped_), bus_(bus) {}
  ~FakeSubscription() override {
    {
      MutexLock lock(bus_.broker_.mu_);
      std::erase(bus_.subscriptions_, this);
    }
    queue.end();
  }

  const std::string pattern;
  DeliveryQueue queue;

 private:
  FakeBus& bus_;
};

FakeBroker::~FakeBroker() {
  MutexLock lock(mu_);
  CHECK(buses_.empty());
}

void FakeBroker::drop_next(size_t messages) {
  MutexLock lock(mu_);
  to_drop_ += messages;
}

void FakeBroker::duplicate_next(size_t messages) {
  MutexLock lock(mu_);
  to_duplicate_ += messages;
}

void FakeBroker::hold() {
  MutexLock lock(mu_);
  is_holding_ = true;
}

void FakeBroker::release() {
  MutexLock lock(mu_);
  is_holding_ = false;
  for (const Held& message : std::exchange(held_, {})) deliver(message.subject, message.data);
}

void FakeBroker::release_reversed() {
  {
    MutexLock lock(mu_);
    std::reverse(held_.begin(), held_.end());
  }
  release();
}

size_t FakeBroker::held() const {
  MutexLock lock(mu_);
  return held_.size();
}

void FakeBroker::take_away() {
  MutexLock lock(mu_);
  state_ = State::kAway;
}

void FakeBroker::hang() {
  MutexLock lock(mu_);
  state_ = State::kHung;
}

void FakeBroker::bring_back() {
  MutexLock lock(mu_);
  state_ = State::kUp;
  for (FakeBus* bus : buses_) {
    while (!bus->unsent_.is_empty()) {
      for (MessageBatch batch = bus->unsent_.take(); !batch.is_empty(); batch.pop())
        enter(batch.front().subject, batch.front().data);
    }
  }
  is_up_.notify_all();
}

void FakeBroker::settle() const {
  while (!is_idle()) std::this_thread::yield();
}

// Whoever publishes needs mu_, so no queue fills while this looks; a callback about to publish shows as a busy queue.
bool FakeBroker::is_idle() const {
  MutexLock lock(mu_);
  for (const FakeBus* bus : buses_) {
    for (const auto* subscription : bus->subscriptions_) {
      if (!subscription->queue.is_idle()) return false;
    }
  }
  return true;
}

void FakeBroker::enter(std::string_view subject, std::string_view data) {
  if (to_drop_ > 0) {
    --to_drop_;
    return;
  }
  const int copies = to_duplicate_ > 0 ? 2 : 1;
  if (copies == 2) --to_duplicate_;
  for (int copy = 0; copy < copies; ++copy) {
    if (is_holding_) {
      held_.push_back({std::string(subject), std::string(data)});
    } else {
      deliver(subject, data);
    }
  }
}

void FakeBroker::deliver(std::string_view subject, std::string_view data) {
  for (const FakeBus* bus : buses_) {
    for (auto* subscription : bus->subscriptions_) {
      if (matches(subscription->pattern, subject)) subscription->queue.push(subject, data);
    }
  }
}

FakeBus::FakeBus(FakeBroker& broker) : broker_(broker) {
  MutexLock lock(broker_.mu_);
  broker_.buses_.push_back(this);
}

FakeBus::~FakeBus() {
  MutexLock lock(broker_.mu_);
  CHECK(subscriptions_.empty());
  std::erase(broker_.buses_, this);
}

void FakeBus::publish(std::string_view subject, std::string_view data) {
  CHECK(is_subject(subject) && data.size() <= kMaxMessageBytes);
  MutexLock lock(broker_.mu_);
  if (broker_.state_ == FakeBroker::State::kUp) return broker_.enter(subject, data);
  unsent_.push(subject, data);
  for (; unsent_.bytes() > kMaxUnsentBytes; ++dropped_) unsent_.drop_oldest();
}

std::unique_ptr<Subscription> FakeBus::subscribe(std::string pattern, OnMessage on_message) {
  CHECK(is_pattern(pattern));
  auto subscription = std::make_unique<FakeSubscription>(*this, std::move(pattern), std::move(on_message));
  MutexLock lock(broker_.mu_);
  subscriptions_.push_back(subscription.get());
  return subscription;
}

Status FakeBus::flush(Time until) {
  MutexLock lock(broker_.mu_);
  while (broker_.state_ != FakeBroker::State::kUp) {
    if (broker_.is_up_.wait_until(broker_.mu_, until) != std::cv_status::timeout) continue;
    if (broker_.state_ == FakeBroker::State::kHung) return deadline("the broker did not answer");
    if (broker_.state_ == FakeBroker::State::kAway) return unavailable("the broker is away");
  }
  return {};
}

bool FakeBus::is_connected() const {
  MutexLock lock(broker_.mu_);
  return broker_.state_ != FakeBroker::State::kAway;
}

}  // namespace dynamo::events
