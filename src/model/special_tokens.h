// Which token begins a text and which tokens end an answer, and who says so.
//
// Files leave ends out: converters write one eos where a model has two, and the eos of a base model often outlives its
// tuning for chat. So an answer ends at every token that
//   - a file names by number: eos_token_id, one or several; in GGUF also eot_token_id and eom_token_id;
//   - tokenizer_config.json names by its text: eos_token;
//   - is special and has a text that means the end of a turn or a text wherever it is in use: "<|im_end|>", "<|eot_id|>";
//   - is special and stands right behind an assistant's words where the chat template renders a conversation.
// Threads: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "model/model_config.h"
#include "text/tokenizer_spec.h"

namespace dynamo::model {

struct AnswerEnd {
  TokenId id = 0;
  std::string text;  // empty: the tokenizer has no such token
  std::vector<std::string> sources;
};

struct SpecialTokens {
  std::optional<TokenId> bos_id;
  std::string bos_token;  // what templates see; may be empty
  std::string eos_token;
  std::vector<AnswerEnd> ends;  // those with a number in the files first; each id once
};

// `chat_template` is the Jinja source, or empty. One that refuses the conversation that it is tried with (a user, an
// assistant, a user; or the first two) tells no end. Errors: those of text::ChatTemplate::compile().
Result<SpecialTokens> find_special_tokens(const ModelConfig& config, const text::TokenizerSpec& spec,
                                          std::string_view chat_template);

}  // namespace dynamo::model
