// A conversation with a server that speaks OpenAI's API: keeps the turns, asks, streams the answer.
// Threads: one; ask() runs its own event loop until the answer is there.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "load/openai_client.h"

namespace dynamo::apps {

struct ChatOptions {
  std::string url = "http://127.0.0.1:8000";
  std::string model;   // empty: the server's first
  std::string system;  // empty: the model's own
  std::optional<double> temperature;
  std::optional<uint32_t> max_tokens;
  std::optional<uint64_t> seed;
  std::chrono::seconds timeout{600};  // for one answer
};

// "first token after 85 ms, 110.3 tokens/s (8 tokens, 20 of 37 prompt tokens cached, worker-1)"
std::string describe(const load::Answer& answer);

class ChatSession {
 public:
  // Finds the model. Errors: kUnavailable (nobody answers at the URL), kInvalid (URL), kNotFound (no model there).
  static Result<std::unique_ptr<ChatSession>> open(ChatOptions options);
  ~ChatSession();

  // Asks the next question; `show` gets the text as it comes. SIGINT ends the answer, which then stands as far as it
  // came. On an error the question is taken back. Errors: as load::OpenAiClient::ask.
  Result<load::Answer> ask(const std::string& question, const std::function<void(std::string_view)>& show);
  // Forgets all turns.
  void reset();
  const std::string& model() const;

 private:
  struct State;
  explicit ChatSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dynamo::apps
