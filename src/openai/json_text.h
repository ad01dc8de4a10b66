// Writes JSON text into a string: the hot path of a stream, where building a document per token would cost most of it.
// Source: RFC 8259, section 7.  Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace dynamo::openai {

// Appends `text` without quotes, with what JSON asks to be escaped escaped. Requires: `text` is UTF-8.
void append_json_escaped(std::string* out, std::string_view text);

// The same with quotes around.
void append_json_string(std::string* out, std::string_view text);

// Appends a log probability: the shortest text that reads back as the same float; what is not finite as -9999.
void append_json_logprob(std::string* out, float value);

// Appends an unsigned number.
void append_json_number(std::string* out, uint64_t value);

}  // namespace dynamo::openai
