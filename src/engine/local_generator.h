// The engine in this process, as a Generator: the one bridge between its thread and coroutines.
// engine/local_generator.h Threads: as Generator.
#pragma once

#include <string>

#include "engine/engine.h"
#include "generate/generator.h"

namespace dynamo::engine {

class LocalGenerator final : public Generator {
 public:
  // `worker` is put into the first chunk of every answer. The engine must outlive this and every Generation.
  LocalGenerator(Engine* engine, std::string worker) : engine_(engine), worker_(std::move(worker)) {}
  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) override;

 private:
  Engine* engine_;
  std::string worker_;
};

}  // namespace dynamo::engine
