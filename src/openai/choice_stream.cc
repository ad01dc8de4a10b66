#include "openai/choice_stream.h"

namespace dynamo::openai {

ChoiceStream::ChoiceStream(uint32_t index, const text::Tokenizer* tokenizer, const RequestParams& params)
    : index_(index),
      detokenizer_(tokenizer, params.skips_special_tokens),
      stops_(params.stop),
      includes_stop_string_(params.includes_stop_string) {}

ChoiceDelta ChoiceStream::push(const TokenChunk& chunk) {
  ChoiceDelta delta;
  delta.index = index_;
  for (size_t i = 0; i < chunk.tokens.size(); ++i) {
    ++completion_tokens_;
    const bool is_stop_id = chunk.finish == FinishReason::kStop && i + 1 == chunk.tokens.size();
    if (is_stop_id) break;  // ends the answer and is no part of its text
    delta.text += stops_.push(detokenizer_.push(chunk.tokens[i]));
    if (i < chunk.logprobs.size()) delta.logprobs.push_back(chunk.logprobs[i]);
    if (stops_.has_stopped()) break;
  }
  if (chunk.finish && !stops_.has_stopped()) {
    delta.text += stops_.push(detokenizer_.finish());
    delta.text += stops_.finish();
  }
  if (stops_.has_stopped()) {
    if (includes_stop_string_) delta.text += stops_.matched();
    delta.is_stopped_by_text = true;
    delta.finish_reason = "stop";
  } else if (chunk.finish) {
    delta.finish_reason = *chunk.finish == FinishReason::kStop ? "stop" : "length";
  }
  return delta;
}

}  // namespace dynamo::openai
