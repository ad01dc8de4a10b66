#include "base/log_writer.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

namespace dynamo::log {
namespace {

// Returns: the bytes written; fewer than all when no more can be.
size_t write_all(int fd, std::string_view text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(fd, text.data() + done, text.size() - done);
    if (count > 0) {
      done += static_cast<size_t>(count);
    } else if (count < 0 && errno == EAGAIN) {  // whoever shares it has made it non-blocking
      pollfd writable{fd, POLLOUT, 0};
      ::poll(&writable, 1, -1);
    } else if (count == 0 || errno != EINTR) {
      break;
    }
  }
  return done;
}

}  // namespace

LogWriter::LogWriter(int fd, std::string (*dropped_note)(uint64_t lines), size_t most_bytes)
    : fd_(fd), dropped_note_(dropped_note), most_bytes_(most_bytes) {}

LogWriter::~LogWriter() {
  std::unique_ptr<std::thread> thread;
  {
    MutexLock lock(mutex_);
    is_ending_ = true;
    wake_.notify_one();
    thread = std::move(thread_);
  }
  if (thread) thread->join();
}

void LogWriter::push(std::string text) {
  Entry entry{std::move(text)};
  MutexLock lock(mutex_);
  if (queued_bytes_ <= most_bytes_ / 2) is_overrun_ = false;
  if (is_overrun_ || queued_bytes_ + entry.cost() > most_bytes_) {
    is_overrun_ = true;
    ++dropped_;
    ++unsaid_;
    return;
  }
  note_dropped();
  append(std::move(entry));
  if (!start()) {  // no thread is to be had: better late than never
    while (!queue_.empty()) write_batch();
  } else if (is_idle_) {
    wake_.notify_one();
  }
}

bool LogWriter::flush(Time until) {
  MutexLock lock(mutex_);
  const uint64_t all = appended_;
  while (done_ < all)
    if (finished_.wait_until(mutex_, until) == std::cv_status::timeout) return done_ >= all;
  return true;
}

uint64_t LogWriter::dropped() const {
  MutexLock lock(mutex_);
  return dropped_;
}

void LogWriter::append(Entry entry) {
  queued_bytes_ += entry.cost();
  ++appended_;
  queue_.push_back(std::move(entry));
}

void LogWriter::note_dropped() {
  if (unsaid_ == 0) return;
  Entry note{dropped_note_(unsaid_), unsaid_};
  unsaid_ = 0;
  append(std::move(note));
}

void LogWriter::write_batch() {
  std::string text;
  std::vector<std::pair<size_t, uint64_t>> ends;  // of the entries in it, and what each notes
  while (!queue_.empty() && (ends.empty() || text.size() + queue_.front().text.size() <= PIPE_BUF)) {
    queued_bytes_ -= queue_.front().cost();
    text += queue_.front().text;
    ends.emplace_back(text.size(), queue_.front().notes);
    queue_.pop_front();
  }
  const bool broke_off = broke_off_;
  mutex_.unlock();
  const bool has_begun = !broke_off || write_all(fd_, "\n") == 1;
  const size_t written = has_begun ? write_all(fd_, text) : 0;
  mutex_.lock();
  can_write_ = written == text.size();
  bool is_whole = written == 0;
  for (const auto& [end, notes] : ends) {
    is_whole |= written == end;
    if (written >= end) continue;
    dropped_ += notes == 0 ? 1 : 0;
    unsaid_ += notes == 0 ? 1 : notes;
  }
  broke_off_ = !has_begun || !is_whole;
  done_ += ends.size();
  finished_.notify_all();
}

bool LogWriter::start() {
  if (thread_) return true;
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the program's own threads
  try {
    thread_ = std::make_unique<std::thread>([this] { run(); });
  } catch (const std::system_error&) {
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread_ != nullptr;
}

void LogWriter::run() {
  MutexLock lock(mutex_);
  for (;;) {
    if (queue_.empty() && can_write_) note_dropped();
    if (!queue_.empty()) {
      write_batch();
    } else if (is_ending_) {
      return;
    } else {
      is_idle_ = true;
      wake_.wait(mutex_);
      is_idle_ = false;
    }
  }
}

}  // namespace dynamo::log
