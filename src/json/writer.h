// Writes JSON text into a string, for streams, where building a document per token would cost most of the time.
// Source: RFC 8259, section 7.  Threads: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dynamo::json {

// Appends `text` without quotes, with what JSON asks to be escaped escaped. Requires: `text` is UTF-8.
void append_escaped(std::string* out, std::string_view text);

// The same with quotes around.
void append_string(std::string* out, std::string_view text);

// Appends an unsigned number.
void append_number(std::string* out, uint64_t value);

// Appends the shortest text that reads back as the same number. Requires: it is finite; JSON has no infinity.
void append_float(std::string* out, float value);
void append_float(std::string* out, double value);

}  // namespace dynamo::json
