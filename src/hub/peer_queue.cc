#include "hub/peer_queue.h"

#include "hub/hub_protocol.h"

namespace dynamo::hub {

void PeerQueue::push(SharedFrame frame) {
  // A single frame beyond the bound, such as a large view, may pass when nothing else waits.
  if (other_bytes_ > 0 && other_bytes_ + frame->size() > max_bytes_) is_overrun_ = true;
  if (is_overrun_) return;
  other_bytes_ += frame->size();
  frames_.push_back({std::move(frame), /*is_event=*/false});
}

void PeerQueue::push_event(SharedFrame frame) {
  if (is_overrun_) return;
  if (event_bytes_ + frame->size() > max_bytes_) {
    ++untold_dropped_;
    return;
  }
  tell_dropped();
  event_bytes_ += frame->size();
  frames_.push_back({std::move(frame), /*is_event=*/true});
}

std::vector<SharedFrame> PeerQueue::take(size_t bytes) {
  std::vector<SharedFrame> taken;
  size_t taken_bytes = 0;
  while (!frames_.empty() && (taken.empty() || taken_bytes + frames_.front().frame->size() <= bytes)) {
    Waiting& next = frames_.front();
    (next.is_event ? event_bytes_ : other_bytes_) -= next.frame->size();
    taken_bytes += next.frame->size();
    taken.push_back(std::move(next.frame));
    frames_.pop_front();
  }
  if (frames_.empty()) tell_dropped();
  return taken;
}

void PeerQueue::tell_dropped() {
  if (untold_dropped_ == 0) return;
  message::FromHub told;
  told.mutable_dropped()->set_events(untold_dropped_);
  untold_dropped_ = 0;
  push(std::make_shared<const std::string>(frame_of(told)));
}

}  // namespace dynamo::hub
