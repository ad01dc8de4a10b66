// The generations of one request's choices, read together.
//
// next() waits until at least one has something and returns all that is ready then, so that one wake-up makes one write.
// Of each generation at most one chunk is taken ahead of the reader. One generation costs no more than reading it
// directly. Private to the module. Threads: belongs to the executor that awaits it, which must be single-threaded.
#pragma once

#include <memory>
#include <vector>

#include "base/status.h"
#include "base/task.h"
#include "generate/generator.h"

namespace dynamo::openai {

class GenerationSet {
 public:
  struct Arrival {
    uint32_t choice = 0;
    Result<TokenChunk> chunk;
  };

  GenerationSet() = default;
  explicit GenerationSet(std::vector<std::unique_ptr<Generation>> generations);
  // Cancels what still runs.
  ~GenerationSet();
  GenerationSet(GenerationSet&&) noexcept = default;
  GenerationSet& operator=(GenerationSet&&) noexcept = default;  // Requires: nothing runs in this one

  // Choices that are not over: no chunk with `finish`, no failure, not dropped.
  size_t running() const;
  // Requires: running() > 0; one call at a time. Returns: at least one chunk or failure.
  Task<std::vector<Arrival>> next();
  // Cancels one choice; nothing of it arrives any more.
  void drop(uint32_t choice);

 private:
  struct State;
  static Task<Result<TokenChunk>> read(std::shared_ptr<State> state, uint32_t choice);
  void spawn_reads();

  std::shared_ptr<State> state_;
};

}  // namespace dynamo::openai
