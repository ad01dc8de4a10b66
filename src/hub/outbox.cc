#include "hub/outbox.h"

#include <utility>

#include "hub/hub_protocol.h"

namespace dynamo::hub {

void Outbox::push_event(std::string_view subject, std::string_view data, size_t max_bytes) {
  events_.push(subject, data);
  ++entered_;
  drop_oldest(max_bytes);
}

void Outbox::begin(std::vector<std::string> frames) {
  controls_.clear();
  for (std::string& frame : frames) controls_.push_back({/*behind=*/0, std::move(frame)});
}

void Outbox::end(size_t max_bytes) {
  controls_.clear();
  drop_oldest(max_bytes);
}

void Outbox::drop_oldest(size_t max_bytes) {
  for (; events_.bytes() > max_bytes; ++dropped_, ++left_) events_.drop_oldest();
}

std::string Outbox::take(size_t bytes) {
  std::string taken;
  for (;;) {
    for (; taken.size() < bytes && is_control_next(); controls_.pop_front()) taken += controls_.front().frame;
    events::MessageBatch batch = events_.take();
    const bool is_done = taken.size() >= bytes || batch.is_empty();
    for (; taken.size() < bytes && !batch.is_empty() && !is_control_next(); batch.pop(), ++left_)
      append_publish(batch.front().subject, batch.front().data, &taken);
    events_.put_back(std::move(batch));
    if (is_done) return taken;
  }
}

}  // namespace dynamo::hub
