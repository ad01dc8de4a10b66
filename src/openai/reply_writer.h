// Writes answers as OpenAI's objects: chat.completion, chat.completion.chunk and text_completion, whole or streamed.
// What is the same in every chunk of a stream is serialised once; per token only the text is escaped.
// Source: OpenAI API reference, "The chat completion chunk object" and its siblings.  Threads: one per request.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "openai/choice_stream.h"

namespace dynamo::openai {

struct Usage {
  uint64_t prompt_tokens = 0;
  uint64_t completion_tokens = 0;
  uint64_t cached_tokens = 0;
};

enum class ReplyKind { kChat, kCompletion };

class ReplyWriter {
 public:
  struct Options {
    ReplyKind kind = ReplyKind::kChat;
    std::string id;  // "chatcmpl-..."
    std::string model;
    int64_t created = 0;  // Unix seconds
    bool has_logprobs = false;
    bool includes_usage = false;  // stream_options.include_usage
    bool has_continuous_usage = false;
    const text::Tokenizer* tokenizer = nullptr;  // for logprobs; outlives the writer
  };
  explicit ReplyWriter(Options options);

  // Streams. The first chunk of each chat choice: its role.
  std::string role_event(uint32_t index, const Usage& usage) const;
  std::string delta_event(const ChoiceDelta& delta, const Usage& usage);
  std::string usage_event(const Usage& usage) const;
  static std::string done_event() { return "data: [DONE]\n\n"; }

  // A whole reply. `choices` are in order of index, each joined into one delta.
  std::string reply(const std::vector<ChoiceDelta>& choices, const Usage& usage);

 private:
  void append_event(std::string_view choice, const Usage& usage, std::string* out) const;
  std::string logprobs_of(const ChoiceDelta& delta);

  Options options_;
  std::string prefix_;                  // {"id":...,"choices":[
  std::vector<uint64_t> text_offsets_;  // per choice, of completions' logprobs
};

// Appends `text` as a JSON string, quotes included. Requires: valid UTF-8.
void append_json_string(std::string_view text, std::string* out);

}  // namespace dynamo::openai
