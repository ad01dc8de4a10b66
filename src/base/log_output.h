// What becomes of log lines: standard error, bounded memory, and nobody who logs ever waits.
//
// A thread of its own writes the lines of a process (base/log_writer.h). exit() waits for it for as long as kExitLimit; what leaves
// by _exit() calls flush() before. Lines of constructors before main() and of destructors after it are written too, and a forked process
// begins with a thread of its own.  Threads: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"

namespace dynamo::log {

// How long the end of a process waits for a log that nobody reads.
inline constexpr Duration kExitLimit = std::chrono::seconds(1);

// Writes something as it is, after the lines before it: another process's line, a bar on a terminal.
void write_text(std::string text);

// Waits until what was logged before is written or dropped. Returns: whether that was so within the limit.
bool flush(Duration limit = kExitLimit);

// For a process that is about to abort: writes what was logged before, then the first PIPE_BUF bytes of `text`, which are lost if
// nobody takes them at once.
void write_last_words(std::string_view text);

// Whether lines are JSON objects.
bool is_json();

// Lines of this process that were not written: its log was read too slowly, or not at all.
uint64_t dropped_lines();

inline const MetricSpec kDroppedLines{
    MetricSpec::Kind::kCounter, "dynamo_log_dropped_lines_total",
    "Log lines of this process that were dropped, since its log was read too slowly or not at all."};
inline const std::vector<const MetricSpec*> kAllMetrics = {&kDroppedLines};

// Keeps it up to date whenever `metrics` are read.
void show_metrics(Metrics* metrics);

}  // namespace dynamo::log
