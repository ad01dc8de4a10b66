#include "events/event_bus.h"

namespace dynamo::events {

bool matches(std::string_view pattern, std::string_view subject) {
  for (;;) {
    const size_t pattern_end = pattern.find('.');
    const size_t subject_end = subject.find('.');
    const std::string_view part = pattern.substr(0, pattern_end);
    if (part == ">") return pattern_end == std::string_view::npos && !subject.empty();
    if (subject.substr(0, subject_end).empty()) return false;
    if (part != "*" && part != subject.substr(0, subject_end)) return false;
    if (pattern_end == std::string_view::npos || subject_end == std::string_view::npos)
      return pattern_end == subject_end;
    pattern.remove_prefix(pattern_end + 1);
    subject.remove_prefix(subject_end + 1);
  }
}

}  // namespace dynamo::events
