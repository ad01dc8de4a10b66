// Checks a tokenizer against the vectors in text/testdata, which the `tokenizers` package made.
// Threads: reads files; any.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "text/tokenizer.h"

namespace dynamo::text {

// Encodes and decodes every text of `folder`/texts.jsonl and compares with `folder`/`name`.ids.
// Returns: how many texts there were. Errors: kNotFound (a file), kCorrupt (a file's line), kInternal (a difference: the
// text, what came and what was expected).
Result<size_t> check_vectors(const Tokenizer& tokenizer, const std::string& folder, std::string_view name);

// Reads `folder`/`name`.json. Errors: kNotFound, and those of tokenizer_spec_from_json() and Tokenizer::create().
Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& folder, std::string_view name);

Result<std::string> read_text_file(const std::string& path);

}  // namespace dynamo::text
