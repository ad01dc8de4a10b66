// Text into a JSON document, with limits. Of a name given twice in an object the last counts.
// Source: RFC 8259, by Boost.JSON; text must be UTF-8.  Threads: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "json/types.h"

namespace dynamo::json {

struct ParseOptions {
  uint32_t max_depth = 32;  // of arrays and objects
  size_t max_memory = 0;    // of the values, bytes; 0: no limit
  storage_ptr memory = {};  // where they lie, if there is no limit
};

struct ParseFailure {
  enum class Kind : uint8_t { kSyntax, kTooDeep, kEndsEarly, kGoesOn, kTooLarge };
  Kind kind = Kind::kSyntax;
  size_t position = 0;  // of the first byte that is wrong
  std::string what;     // "syntax error"
};

// Parses all of `text` into `out`. A byte order mark before it, which editors and PowerShell put there, is skipped (RFC
// 8259, section 8.1). Returns: what is wrong, or nothing.
std::optional<ParseFailure> parse(std::string_view text, const ParseOptions& options, std::optional<value>* out);

// The same. Errors: kCorrupt, "at byte 7: not valid JSON: syntax error".
Result<value> parse(std::string_view text, const ParseOptions& options = {});
// The same of an object. Errors: also "is JSON of type array; expected an object".
Result<value> parse_object(std::string_view text, const ParseOptions& options = {});

}  // namespace dynamo::json
