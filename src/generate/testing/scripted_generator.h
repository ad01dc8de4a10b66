// A Generator that plays a script: for tests of everything that calls one.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "generate/generator.h"

namespace dynamo {

// Answers every request with the chunks and the status that `script` returns for it. A script whose status is ok must
// end with a finished chunk. A negative `hang_after` never hangs; otherwise next() waits for ever (till the deadline)
// after that many chunks.
class ScriptedGenerator final : public Generator {
 public:
  struct Answer {
    Status refusal;  // generate() itself fails with this
    std::vector<TokenChunk> chunks;
    Status failure;  // after the chunks
    int hang_after = -1;
  };
  explicit ScriptedGenerator(std::function<Answer(const GenerateRequest&)> script) : script_(std::move(script)) {}

  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) override;

  // Every request taken so far, in order.
  std::vector<GenerateRequest> requests() const;
  // Generations that were destroyed before their end.
  int cancelled() const;

 private:
  struct Log {
    Mutex mutex;
    std::vector<GenerateRequest> requests GUARDED_BY(mutex);
    int cancelled GUARDED_BY(mutex) = 0;
  };
  class Playback;

  std::function<Answer(const GenerateRequest&)> script_;
  std::shared_ptr<Log> log_ = std::make_shared<Log>();
};

}  // namespace dynamo
