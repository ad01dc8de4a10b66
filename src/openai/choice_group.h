// The choices of one answer, generated side by side: whatever is ready comes out together.
// Threads: created, awaited and destroyed on one I/O thread. Destroying it drops every generation that is not over.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/task.h"
#include "generate/generator.h"
#include "openai/choice_stream.h"

namespace dynamo::openai {

class ChoiceGroup {
 public:
  // Starts one generation per request; choice i streams through streams[i]. Errors: the first refusal; the others are dropped.
  static Task<Result<std::unique_ptr<ChoiceGroup>>> start(std::shared_ptr<Generator> generator,
                                                          std::vector<GenerateRequest> requests,
                                                          std::vector<ChoiceStream> streams);
  ~ChoiceGroup();

  // Waits until some choice has news, and returns all there is, in order per choice. Empty: every choice is finished.
  // Errors: the first failure of a choice; the group is then over.
  Task<Result<std::vector<ChoiceDelta>>> next();

  uint64_t completion_tokens() const;
  uint64_t cached_tokens() const;     // of all prompts
  const std::string& worker() const;  // who answered the first choice that spoke

 private:
  struct State;
  explicit ChoiceGroup(std::shared_ptr<State> state);
  static Task<void> pump(State* state, size_t index);
  std::shared_ptr<State> state_;
};

}  // namespace dynamo::openai
