// One choice on its way out: tokens become text, bytes of unfinished characters and beginnings of stop strings wait, and
// the log probabilities go with the text that they belong to.
// Threads: one per choice; the tokenizer must outlive it.  Private to the module.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "generate/generate_request.h"
#include "openai/request_options.h"
#include "text/detokenizer.h"
#include "text/stop_strings.h"

namespace dynamo::openai {

// A token whose text is shown, with its log probabilities and where it begins: characters of the choice's text before it.
struct ShownToken {
  TokenLogprobs logprobs;
  uint32_t text_offset = 0;
};

// What can be shown now.
struct ChoicePiece {
  std::string text;
  std::vector<ShownToken> tokens;      // only if log probabilities were asked for
  std::optional<FinishReason> finish;  // the choice is over: the engine's end, or a stop string
};

class ChoiceStream {
 public:
  // `echo` is text before the answer; it is counted in the tokens' offsets, not returned.
  ChoiceStream(const text::Tokenizer* tokenizer, const RequestOptions& options, std::string_view echo);

  // A stop string ends the choice if its last character is of a token after the first `min_tokens`, wherever it begins.
  // Requires: no piece had `finish`. With it set and none in the chunk, a stop string was found and the rest of the
  // generation is of no use.
  ChoicePiece push(TokenChunk chunk);

  // Tokens generated so far, a final stop id included, those after a stop string not.
  uint32_t tokens() const { return tokens_; }

 private:
  void push_text(std::string_view text, ChoicePiece* piece);
  void release_tokens(bool shows_all, ChoicePiece* piece);

  struct PendingToken {
    ShownToken token;
    uint64_t begin = 0;  // bytes of text before and after it
    uint64_t end = 0;
  };

  text::Detokenizer detokenizer_;
  text::StopStrings stops_;
  bool includes_stop_;
  uint32_t min_tokens_;
  uint32_t tokens_ = 0;
  uint64_t decoded_bytes_ = 0;
  uint64_t shown_bytes_ = 0;
  uint32_t decoded_characters_;
  std::deque<PendingToken> pending_;
};

}  // namespace dynamo::openai
