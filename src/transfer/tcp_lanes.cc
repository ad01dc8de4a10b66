#include "transfer/tcp_lanes.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace dynamo::transfer {
namespace {

constexpr uint64_t kMostDealtBytes = kMostFrameBytes;  // at once, but for the last put: about what one sendmsg takes
constexpr size_t kMostDealtPuts = 64;

std::vector<Copy> take(CopyCursor* copies, uint64_t bytes) {
  std::vector<Copy> taken;
  for (; bytes > 0; bytes -= taken.back().bytes) taken.push_back(copies->take(bytes));
  return taken;
}

}  // namespace

void TcpLanes::remove(TcpOutgoing* lane) {
  CHECK(!lane->has_puts());
  std::erase(lanes_, lane);
}

void TcpLanes::put(PutId id, std::span<const Copy> copies, std::string notification, PermitId permit) {
  uint64_t bytes = 0;
  for (const Copy& copy : copies) bytes += copy.bytes;
  queue_.push_back({id, CopyCursor(copies), bytes, std::move(notification), permit, {}});
  undealt_bytes_ += bytes;
}

TcpOutgoing::Cancelled TcpLanes::cancel(PutId id) {
  bool is_known = landing_.contains(id);
  if (const auto found = std::ranges::find(queue_, id, &Put::id); found != queue_.end()) {
    undealt_bytes_ -= found->bytes;
    queue_.erase(found);
    is_known = true;
  }
  size_t landing = 0;
  for (TcpOutgoing* lane : lanes_) {
    const TcpOutgoing::Cancelled end = lane->cancel(id);
    is_known |= end != TcpOutgoing::Cancelled::kNo;
    landing += end == TcpOutgoing::Cancelled::kLater ? 1 : 0;
  }
  if (!is_known) return TcpOutgoing::Cancelled::kNo;
  landing_.erase(id);
  if (landing == 0) return TcpOutgoing::Cancelled::kNow;
  landing_.emplace(id, Landing{landing, {}, /*is_cancelled=*/true});
  return TcpOutgoing::Cancelled::kLater;
}

std::span<iovec> TcpLanes::next_parts(TcpOutgoing* lane) {
  if (lane->is_welcome() && !lane->has_unsent()) deal(lane);
  return lane->next_parts();
}

void TcpLanes::deal(TcpOutgoing* lane) {
  uint64_t dealt = 0;
  for (size_t count = 0; count < kMostDealtPuts && dealt < kMostDealtBytes && !queue_.empty(); ++count) {
    Put& put = queue_.front();
    const bool is_whole = put.carriers.empty() && put.bytes <= kWholeParts * part_bytes_;
    const uint64_t bytes = is_whole ? put.bytes : std::min(put.bytes, part_bytes_);
    const std::vector<Copy> copies = take(&put.copies, bytes);
    dealt += bytes + put.notification.size();
    put.bytes -= bytes;
    undealt_bytes_ -= bytes;
    if (put.bytes > 0) {
      lane->part(put.id, copies, put.permit);
      if (std::ranges::find(put.carriers, lane) == put.carriers.end()) put.carriers.push_back(lane);
      return;  // the next part is for the next lane
    }
    deal_last(lane, std::move(put), copies);
    queue_.pop_front();
  }
}

void TcpLanes::deal_last(TcpOutgoing* lane, Put put, std::span<const Copy> copies) {
  std::erase(put.carriers, lane);
  if (put.carriers.empty()) {
    lane->put(put.id, copies, std::move(put.notification), put.permit);
    return;
  }
  lane->part(put.id, copies, put.permit);
  put.carriers.push_back(lane);
  for (TcpOutgoing* carrier : put.carriers) carrier->ask(put.id);
  landing_.emplace(put.id, Landing{put.carriers.size(), std::move(put.notification)});
}

Status TcpLanes::received(TcpOutgoing* lane, std::string_view bytes, std::vector<PutId>* acknowledged,
                          std::vector<PutId>* cancelled) {
  std::vector<PutId> landed;
  const Status status = lane->received(bytes, acknowledged, &landed);
  for (const PutId id : landed) {
    const auto found = landing_.find(id);
    CHECK(found != landing_.end());
    if (--found->second.lanes > 0) continue;
    if (found->second.is_cancelled) {
      cancelled->push_back(id);
    } else {
      queue_.push_front({id, {}, 0, std::move(found->second.notification), kNoPermit, {}});
    }
    landing_.erase(found);
  }
  return status;
}

bool TcpLanes::has_puts() const {
  return !queue_.empty() || !landing_.empty() ||
         std::ranges::any_of(lanes_, [](const TcpOutgoing* lane) { return lane->has_puts(); });
}

TcpLanes::Unfinished TcpLanes::take_puts() {
  Unfinished taken;
  for (const Put& put : queue_) taken.puts.push_back(put.id);
  for (const auto& [id, landing] : landing_) (landing.is_cancelled ? taken.cancelled : taken.puts).push_back(id);
  for (const TcpOutgoing* lane : lanes_) {
    for (const PutId id : lane->unacknowledged()) taken.puts.push_back(id);
  }
  *this = TcpLanes(part_bytes_);
  return taken;
}

}  // namespace dynamo::transfer
