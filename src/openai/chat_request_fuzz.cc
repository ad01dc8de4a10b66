// Any bytes as the body of a chat or completion request: read or refused, never a crash, a hang or a huge allocation.
#include "base/check.h"
#include "openai/chat_request.h"
#include "openai/completion_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dynamo::openai;  // NOLINT
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const RequestLimits limits;
  ChatRequest chat;
  if (const auto wrong = parse_chat_request(body, limits, &chat)) {
    CHECK(!error_body(*wrong).empty() && !wrong->message.empty());
  } else {
    CHECK(!chat.messages.empty() && !chat.options.model.empty());
    CHECK(chat.options.n >= 1 && chat.options.n <= limits.max_choices);
    to_generate_request(chat.options, {}, 0);
  }
  CompletionRequest completion;
  if (const auto wrong = parse_completion_request(body, limits, &completion)) {
    CHECK(!error_body(*wrong).empty() && !wrong->message.empty());
  } else {
    CHECK(!completion.prompts.empty() && completion.prompts.size() * completion.options.n <= limits.max_generations);
  }
  return 0;
}
