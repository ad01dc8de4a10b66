// One line per change of state, for people and for machines.
//
//   LOG(info, "instance lost", {"id", id}, {"why", status.to_string()});
//   2026-11-23T07:53:33.120Z [INFO] instance lost id=7 why="deadline: no ping"
//
// The module is the first folder of the source file's path, so that levels can be set per module. Never a line per
// token; never a prompt's or an answer's text. Threads: any; none waits for who reads the log (base/log_output.h).
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/status.h"

namespace dynamo::log {

enum class Level {
  trace,
  debug,
  info,
  warn,
  error,
  off
};  // NOLINT: lower case, as LOG(info, ...) and DYN_LOG=info write them

// One key=value of a line.
struct Field {
  Field(std::string_view key, std::string_view value);
  template <class T>
    requires(!std::convertible_to<const T&, std::string_view>)
  Field(std::string_view key, const T& value) : key(key), value(fmt::format("{}", value)) {}
  std::string_view key;
  std::string value;
};

// Sets which lines are written, from a filter like "info" or "info,router=debug": a default level and levels per
// module. Errors: kInvalid names the part that is no level. Before the first call the level is info.
Status configure(std::string_view filter);

// From now on each line is a JSON object: time, level, message, and the fields as text.
void write_json_lines();

// Cost: one relaxed load when `level` is below every configured one.
bool is_enabled(Level level, std::string_view module);
void write(Level level, std::string_view text, std::initializer_list<Field> fields);

// "router/cost.cc" is module "router".
constexpr std::string_view module_of(std::string_view file) {
  return file.substr(0, file.find('/'));
}

}  // namespace dynamo::log

#define LOG(level, text, ...)                                                                       \
  do {                                                                                              \
    if (::dynamo::log::is_enabled(::dynamo::log::Level::level, ::dynamo::log::module_of(__FILE__))) \
      ::dynamo::log::write(::dynamo::log::Level::level, text, {__VA_ARGS__});                       \
  } while (0)
