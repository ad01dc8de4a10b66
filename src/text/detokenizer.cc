#include "text/detokenizer.h"

#include "text/utf8.h"

namespace dynamo::text {

std::string Detokenizer::push(TokenId token) {
  if (skip_special_ && tokenizer_->is_special(token)) return {};
  held_ += tokenizer_->token_bytes(token);
  std::string text;
  const size_t unfinished = append_utf8(held_, &text);
  held_.erase(0, held_.size() - unfinished);
  return text;
}

std::string Detokenizer::finish() {
  const bool is_whole = held_.empty();
  held_.clear();
  return std::string(is_whole ? std::string_view() : kReplacement);
}

}  // namespace dynamo::text
