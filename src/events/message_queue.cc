#include "events/message_queue.h"

#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace dynamo::events {
namespace {

constexpr size_t kBatchBytes = 64U << 10;
constexpr size_t kHeadBytes = 2 * sizeof(uint32_t);

}  // namespace

void MessageBatch::push(std::string_view subject, std::string_view data) {
  const std::array<uint32_t, 2> sizes = {static_cast<uint32_t>(subject.size()), static_cast<uint32_t>(data.size())};
  std::array<char, kHeadBytes> head;
  std::memcpy(head.data(), sizes.data(), kHeadBytes);
  packed_.append(head.data(), head.size()).append(subject).append(1, '\0').append(data);
  ++count_;
}

MessageView MessageBatch::front() const {
  DCHECK(count_ > 0);
  std::array<uint32_t, 2> sizes;
  const char* at = packed_.data() + read_;
  std::memcpy(sizes.data(), at, kHeadBytes);
  const char* subject = at + kHeadBytes;
  return {{subject, sizes[0]}, {subject + sizes[0] + 1, sizes[1]}};
}

void MessageBatch::pop() {
  const MessageView message = front();
  read_ += MessageQueue::cost(message.subject, message.data);
  --count_;
}

size_t MessageQueue::cost(std::string_view subject, std::string_view data) {
  return kHeadBytes + subject.size() + 1 + data.size();
}

void MessageQueue::push(std::string_view subject, std::string_view data) {
  const size_t cost_here = cost(subject, data);
  if (batches_.empty() || batches_.back().bytes() + cost_here > kBatchBytes) batches_.emplace_back();
  batches_.back().push(subject, data);
  bytes_ += cost_here;
  ++count_;
}

void MessageQueue::drop_oldest() {
  MessageBatch& oldest = batches_.front();
  const size_t before = oldest.bytes();
  oldest.pop();
  bytes_ -= before - oldest.bytes();
  --count_;
  if (oldest.is_empty()) batches_.pop_front();
}

MessageBatch MessageQueue::take() {
  MessageBatch batch;
  if (batches_.empty()) return batch;
  batch = std::move(batches_.front());
  batches_.pop_front();
  bytes_ -= batch.bytes();
  count_ -= batch.count();
  return batch;
}

void MessageQueue::put_back(MessageBatch batch) {
  if (batch.is_empty()) return;
  bytes_ += batch.bytes();
  count_ += batch.count();
  batches_.push_front(std::move(batch));
}

}  // namespace dynamo::events
