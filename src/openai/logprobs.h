// Log probabilities as OpenAI's two APIs write them.
// Threads: pure functions.  Private to the module.
#pragma once

#include <span>
#include <string>

#include "openai/choice_stream.h"

namespace dynamo::openai {

// One log probability; what is not finite as -9999.
void append_logprob(std::string* out, float value);

// Chat: {"content": [{"token", "logprob", "bytes", "top_logprobs": [...]}, ...], "refusal": null}.
void append_chat_logprobs(std::string* out, const text::Tokenizer& tokenizer, std::span<const ShownToken> tokens);

// Completions: {"tokens": [...], "token_logprobs": [...], "top_logprobs": [{text: logprob}, ...], "text_offset": [...]}.
// Of two alternatives with the same text the likelier is named; the drawn token always is.
void append_completion_logprobs(std::string* out, const text::Tokenizer& tokenizer, std::span<const ShownToken> tokens);

}  // namespace dynamo::openai
