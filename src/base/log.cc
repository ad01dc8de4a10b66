#include "base/log.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>

#include "base/log_line.h"
#include "base/log_output.h"
#include "base/log_writer.h"

namespace dynamo::log {
namespace {

struct Filter {
  Level fallback = Level::info;
  std::map<std::string, Level, std::less<>> modules;

  Level lowest() const {
    Level lowest = fallback;
    for (const auto& [module, level] : modules) lowest = std::min(lowest, level);
    return lowest;
  }
};

constexpr std::array<std::string_view, 6> kLevelNames = {"trace", "debug", "info", "warn", "error", "off"};

std::atomic<Level> lowest_enabled{Level::info};
std::atomic<bool> writes_json{false};

// What is here lives as long as the process, so that constructors before main() and destructors after it can log.

std::shared_ptr<const Filter>& filter_slot() {
  static auto& filter = *new std::shared_ptr<const Filter>(std::make_shared<const Filter>());
  return filter;
}

std::atomic<LogWriter*> current_writer{nullptr};
std::atomic<LogWriter*> parents_writer{nullptr};  // in a forked process; its thread is not here
std::atomic<bool> is_exiting{false};
std::atomic<Time> exit_limit{Time()};

std::string line_of(Level level, std::string_view text, std::initializer_list<Field> fields) {
  const std::string time = timestamp();
  return is_json() ? json_line(time, level, text, fields) : text_line(time, level, text, fields);
}

std::string dropped_note(uint64_t lines) {
  return line_of(Level::warn, "log lines were dropped", {{"lines", lines}});
}

void watch_exit_and_fork() {
  std::atexit([] {
    exit_limit = Clock::steady().now() + kExitLimit;
    is_exiting = true;
    if (LogWriter* writer = current_writer) writer->flush(exit_limit);
  });
  pthread_atfork(nullptr, nullptr, [] { parents_writer = current_writer.exchange(nullptr); });
}

LogWriter& writer() {
  static const bool is_watched = (watch_exit_and_fork(), true);
  static_cast<void>(is_watched);
  if (LogWriter* writer = current_writer.load(std::memory_order_acquire)) return *writer;
  auto made = std::make_unique<LogWriter>(STDERR_FILENO, dropped_note);
  LogWriter* before = nullptr;
  return current_writer.compare_exchange_strong(before, made.get()) ? *made.release() : *before;
}

std::optional<Level> parse_level(std::string_view name) {
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames[i] == name) return static_cast<Level>(i);
  }
  return std::nullopt;
}

}  // namespace

void write_json_lines() {
  writes_json = true;
}

bool is_json() {
  return writes_json.load(std::memory_order_relaxed);
}

Status configure(std::string_view text) {
  auto filter = std::make_shared<Filter>();
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const size_t equals = part.find('=');
    const std::string_view name = equals == std::string_view::npos ? part : part.substr(equals + 1);
    const auto level = parse_level(name);
    if (!level) {
      return invalid(
          fmt::format("log filter: '{}' is no level; use trace, debug, info, warn, error or off, "
                      "or module=level, separated by commas",
                      name));
    }
    if (equals == std::string_view::npos) {
      filter->fallback = *level;
    } else {
      filter->modules[std::string(part.substr(0, equals))] = *level;
    }
  }
  lowest_enabled = filter->lowest();
  std::atomic_store(&filter_slot(), std::shared_ptr<const Filter>(std::move(filter)));
  return {};
}

bool is_enabled(Level level, std::string_view module) {
  if (level < lowest_enabled.load(std::memory_order_relaxed)) return false;
  const auto filter = std::atomic_load(&filter_slot());
  const auto found = filter->modules.find(module);
  return level >= (found == filter->modules.end() ? filter->fallback : found->second);
}

Field::Field(std::string_view key, std::string_view value) : key(key), value(value) {}

void write(Level level, std::string_view text, std::initializer_list<Field> fields) {
  write_text(line_of(level, text, fields));
}

void write_text(std::string text) {
  writer().push(std::move(text));
  if (is_exiting) writer().flush(exit_limit);  // nothing waits for it after this
}

bool flush(Duration limit) {
  LogWriter* writer = current_writer;
  return writer == nullptr || writer->flush(Clock::steady().now() + limit);
}

void write_last_words(std::string_view text) {
  flush(kExitLimit);
  pollfd writable{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&writable, 1, 0) != 1) return;
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
}

uint64_t dropped_lines() {
  LogWriter* writer = current_writer;
  return writer == nullptr ? 0 : writer->dropped();
}

void show_metrics(Metrics* metrics) {
  metrics->before_expose([&dropped = metrics->counter(kDroppedLines)] {
    dropped.Increment(static_cast<double>(dropped_lines()) - dropped.Value());
  });
}

}  // namespace dynamo::log
