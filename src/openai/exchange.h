// One prepared request: starts its generations and writes the answer, streamed or whole.
//
// The response's head waits for the first token, so that what fails before it has a proper HTTP status. A generation whose
// choice is over by a stop string is dropped at once; when the client goes away the exchange is destroyed, and with it all
// of them. Private to the module. Threads: belongs to the connection's I/O thread.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/task.h"
#include "http/message.h"
#include "openai/choice_stream.h"
#include "openai/generation_set.h"
#include "openai/preparation.h"
#include "openai/reply_writer.h"
#include "openai/request_record.h"

namespace dynamo::openai {

class Exchange {
 public:
  // `id` names the request in logs and is shown to the client. `record` outlives the exchange.
  Exchange(PreparedRequest request, std::string id, Time deadline, RequestRecord* record);

  // Writes exactly one response. A client that is gone ends it early.
  Task<void> run(http::ResponseWriter* out);

 private:
  struct Choice {
    ChoiceStream stream;
    WholeChoice whole;  // filled for a whole reply
    bool has_started = false;
    Time latest{};  // when its last tokens came
  };

  Task<Status> start();
  Task<void> stream(http::ResponseWriter* out);
  Task<void> reply(http::ResponseWriter* out);
  Task<void> fail(http::ResponseWriter* out, Status status);
  // Takes the next chunks of all choices that have some, each through `sink(choice, piece)`.
  template <class Sink>
  Task<Status> advance(Sink sink);
  ChoicePiece take(uint32_t choice, TokenChunk chunk);
  void append_events(uint32_t choice, const ChoicePiece& piece, std::string* events);
  http::Response head() const;

  PreparedRequest request_;
  std::string id_;
  Time deadline_;
  RequestRecord* record_;
  ReplyWriter writer_;
  std::vector<Choice> choices_;
  GenerationSet generations_;
  Usage usage_;
  std::string worker_;  // who answered first
};

}  // namespace dynamo::openai
