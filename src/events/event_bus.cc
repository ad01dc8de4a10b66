#include "events/event_bus.h"

namespace dynamo::events {
namespace {

bool is_plain(std::string_view part) {
  return !part.empty() && part.find_first_of(std::string_view("*> \t\r\n\0", 7)) == std::string_view::npos;
}

}  // namespace

bool is_subject(std::string_view text) {
  for (;;) {
    const size_t end = text.find('.');
    if (!is_plain(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

bool is_pattern(std::string_view text) {
  for (;;) {
    const size_t end = text.find('.');
    const std::string_view part = text.substr(0, end);
    if (part == ">") return end == std::string_view::npos;
    if (part != "*" && !is_plain(part)) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

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
