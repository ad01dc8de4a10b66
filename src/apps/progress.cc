#include "apps/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_output.h"

namespace dynamo::apps {

Progress::Progress(std::string what) : what_(std::move(what)), is_terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::update(double fraction) {
  constexpr int kWidth = 30;
  const int steps = is_terminal_ ? 100 : 4;
  const int now = static_cast<int>(fraction * steps);
  if (now == shown_) return;
  shown_ = now;
  if (!is_terminal_) {
    LOG(info, what_, {"done", fmt::format("{}%", now * 100 / steps)});
    return;
  }
  const int filled = static_cast<int>(fraction * kWidth);
  log::write_text(fmt::format("\r{} [{}{}] {:3}%{}", what_, std::string(filled, '#'), std::string(kWidth - filled, ' '),
                              now, now == 100 ? "\n" : ""));
}

}  // namespace dynamo::apps
