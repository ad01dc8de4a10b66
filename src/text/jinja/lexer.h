// A template's source cut into text and tokens, white space control applied.
// Language: jinja2 with trim_blocks, lstrip_blocks and without keep_trailing_newline, as transformers sets it up.
// Private to the module.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace dynamo::text::jinja {

struct Token {
  enum class Kind {
    kText,
    kOutputBegin,
    kOutputEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Kind kind = Kind::kEnd;
  std::string text;
  int line = 0;
};

// Errors: kInvalid, with the line.
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace dynamo::text::jinja
