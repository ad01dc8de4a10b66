// One choice of an answer: tokens come in, text with its logprobs and finish reason goes out.
// Threads: one per request.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "generate/generate_request.h"
#include "openai/request_params.h"
#include "text/detokenizer.h"
#include "text/stop_strings.h"

namespace dynamo::openai {

// What one or more tokens add to a choice.
struct ChoiceDelta {
  uint32_t index = 0;
  std::string text;
  std::vector<TokenLogprobs> logprobs;  // of the tokens behind `text`, if asked
  std::optional<std::string> finish_reason;
  bool is_stopped_by_text = false;  // a stop string was found: the generation is to be dropped
};

class ChoiceStream {
 public:
  // The tokenizer outlives the stream.
  ChoiceStream(uint32_t index, const text::Tokenizer* tokenizer, const RequestParams& params);

  // Requires: no delta before had a finish reason.
  ChoiceDelta push(const TokenChunk& chunk);
  uint64_t completion_tokens() const { return completion_tokens_; }

 private:
  uint32_t index_;
  text::Detokenizer detokenizer_;
  text::StopStrings stops_;
  bool includes_stop_string_;
  uint64_t completion_tokens_ = 0;
};

}  // namespace dynamo::openai
