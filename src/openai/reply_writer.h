// The bodies of answers: a stream's events and a whole reply, for chat and for text completions.
//
// What all events of a stream share is serialised once, when the stream begins; per token only the delta is written.
// Source: OpenAI API reference (the chat completion object and chunk, the completion object).  Threads: one per request.
// Private to the module.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "openai/choice_stream.h"
#include "openai/error.h"
#include "openai/preparation.h"

namespace dynamo::openai {

struct Usage {
  uint64_t prompt_tokens = 0;      // of each prompt once, whatever n is
  uint64_t completion_tokens = 0;  // of all choices
  uint64_t cached_tokens = 0;      // prompt tokens found in the cache
};

// A choice as a whole reply shows it.
struct WholeChoice {
  std::string text;
  std::vector<ShownToken> tokens;
  FinishReason finish = FinishReason::kStop;
};

class ReplyWriter {
 public:
  // `id` is the reply's, "chatcmpl-..."; `created` in Unix seconds. `request` outlives the writer.
  ReplyWriter(const PreparedRequest* request, const std::string& id, int64_t created);

  // Events of a stream, each appended to `out`. `so_far` is shown if the client asked for continuous usage.
  // The first of a choice: the assistant's role, or the echo of the prompt.
  void append_start(std::string* out, uint32_t choice, const Usage& so_far) const;
  void append_delta(std::string* out, uint32_t choice, const ChoicePiece& piece, const Usage& so_far) const;
  void append_finish(std::string* out, uint32_t choice, FinishReason reason, const Usage& so_far) const;
  // The end: usage if asked for, and [DONE].
  void append_end(std::string* out, const Usage& usage) const;
  // The end of a stream that broke: an error object, and no [DONE].
  static void append_failure(std::string* out, const ApiError& error);

  std::string whole_reply(const std::vector<WholeChoice>& choices, const Usage& usage) const;

 private:
  bool is_chat() const { return request_->endpoint == Endpoint::kChat; }
  void append_logprobs(std::string* out, std::span<const ShownToken> tokens) const;
  void append_event_end(std::string* out, const Usage& so_far) const;
  std::string envelope(std::string_view object) const;

  const PreparedRequest* request_;
  std::string id_;
  int64_t created_;
  std::string event_begin_;  // up to the index of the choice
};

}  // namespace dynamo::openai
