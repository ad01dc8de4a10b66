// How a log line looks: for people, or as a JSON object.
// What a line says may come from a client, a peer or a file: control characters, and bytes that are not UTF-8, are written as
// escapes, so that no value can end a line, begin another, or command a terminal.  Threads: pure functions.
// Private to the module.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "base/log.h"

namespace dynamo::log {

// 2026-11-23T07:53:33.120Z [INFO] instance lost id=7 why="deadline: no ping", and a line's end. `time` is as timestamp() says it.
std::string text_line(std::string_view time, Level level, std::string_view text, std::initializer_list<Field> fields);

// {"time":"...","level":"info","message":"instance lost","id":"7"}, and a line's end. Bytes that are not UTF-8 become U+FFFD.
std::string json_line(std::string_view time, Level level, std::string_view text, std::initializer_list<Field> fields);

// Now, in UTC.
std::string timestamp();

}  // namespace dynamo::log
