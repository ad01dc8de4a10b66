#include "hub/outbox.h"

#include <utility>

namespace dynamo::hub {

void Outbox::push_event(std::string frame, size_t max_bytes) {
  event_bytes_ += frame.size();
  events_.push_back({++last_, std::move(frame)});
  drop_oldest(max_bytes);
}

void Outbox::begin(std::vector<std::string> frames) {
  controls_.clear();
  for (std::string& frame : frames) controls_.push_back({/*number=*/0, std::move(frame)});
}

void Outbox::end(size_t max_bytes) {
  controls_.clear();
  drop_oldest(max_bytes);
}

void Outbox::drop_oldest(size_t max_bytes) {
  while (event_bytes_ > max_bytes) {
    event_bytes_ -= events_.front().frame.size();
    events_.pop_front();
    ++dropped_;
  }
}

std::string Outbox::take(size_t bytes) {
  std::string taken;
  while (taken.size() < bytes && (!controls_.empty() || !events_.empty())) {
    const bool is_control =
        events_.empty() || (!controls_.empty() && controls_.front().number < events_.front().number);
    std::deque<Waiting>& queue = is_control ? controls_ : events_;
    if (!is_control) event_bytes_ -= queue.front().frame.size();
    taken.empty() ? std::swap(taken, queue.front().frame) : static_cast<void>(taken += queue.front().frame);
    queue.pop_front();
  }
  return taken;
}

}  // namespace dynamo::hub
