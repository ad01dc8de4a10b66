// Tokens to text while they arrive: each piece is valid UTF-8, and the pieces joined are the whole.
// Threads: one per stream; the Tokenizer must outlive it.
#pragma once

#include <span>
#include <string>

#include "base/ids.h"
#include "text/tokenizer.h"

namespace dynamo::text {

class Detokenizer {
 public:
  Detokenizer(const Tokenizer* tokenizer, bool skip_special) : tokenizer_(tokenizer), skip_special_(skip_special) {}

  // Text that is complete now; bytes of an unfinished character wait for the next token.
  std::string push(TokenId token);
  // What still waits, as U+FFFD. Call once, after the last token.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string held_;  // bytes of an unfinished character, at most 3
};

}  // namespace dynamo::text
