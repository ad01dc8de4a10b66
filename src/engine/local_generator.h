// The engine in this process, as a Generator: the one bridge between its thread and coroutines.
// engine/local_generator.h Threads: as Generator.
#pragma once

#include <functional>
#include <string>

#include "engine/engine.h"
#include "generate/generator.h"

namespace dynamo::engine {

class LocalGenerator final : public Generator {
 public:
  using SourceOf = std::function<std::shared_ptr<BlockSource>(const GenerateRequest& request)>;
  // `worker` is put into the first chunk of every answer. `source_of` says where a request's prompt comes from; null: always from
  // here. The engine must outlive this and every Generation.
  LocalGenerator(Engine* engine, std::string worker, SourceOf source_of = nullptr)
      : engine_(engine), worker_(std::move(worker)), source_of_(std::move(source_of)) {}
  Task<Result<std::unique_ptr<Generation>>> generate(GenerateRequest request) override;

 private:
  Engine* engine_;
  std::string worker_;
  SourceOf source_of_;
};

}  // namespace dynamo::engine
