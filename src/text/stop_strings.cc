#include "text/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace dynamo::text {

StopStrings::Stop::Stop(std::string stop) : text(std::move(stop)), borders(text.size() + 1, 0) {
  CHECK(!text.empty());
  for (size_t i = 1, border = 0; i < text.size(); ++i) {
    while (border > 0 && text[i] != text[border]) border = borders[border];
    if (text[i] == text[border]) ++border;
    borders[i + 1] = border;
  }
}

void StopStrings::Stop::read(char c) {
  if (matched == text.size()) matched = borders[matched];
  while (matched > 0 && text[matched] != c) matched = borders[matched];
  if (text[matched] == c) ++matched;
}

StopStrings::StopStrings(std::vector<std::string> stops) {
  for (std::string& stop : stops) stops_.emplace_back(std::move(stop));
}

std::string StopStrings::push(std::string_view piece, bool can_stop) {
  if (has_stopped_) return {};
  held_ += piece;
  const size_t old = held_.size() - piece.size();
  for (size_t at = old; at < held_.size(); ++at) {
    const Stop* found = nullptr;
    for (Stop& stop : stops_) {
      stop.read(held_[at]);
      if (stop.matched < stop.text.size()) continue;
      if (!can_stop) {
        stop.matched = stop.borders[stop.matched];  // only as the beginning of another
        continue;
      }
      if (found == nullptr || stop.text.size() > found->text.size()) found = &stop;
    }
    if (found == nullptr) continue;
    has_stopped_ = true;
    matched_ = found->text;
    std::string shown = held_.substr(0, at + 1 - matched_.size());
    held_.clear();
    return shown;
  }
  size_t kept = 0;
  for (const Stop& stop : stops_) kept = std::max(kept, stop.matched);
  std::string shown = held_.substr(0, held_.size() - kept);
  held_.erase(0, held_.size() - kept);
  return shown;
}

std::string StopStrings::finish() {
  return std::exchange(held_, {});
}

}  // namespace dynamo::text
