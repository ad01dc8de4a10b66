// The flags of an engine and its model, for every command that runs one.
#pragma once

#include <string>
#include <vector>

#include "apps/flags.h"
#include "base/status.h"
#include "worker/model_worker.h"

namespace dynamo::apps {

struct EngineFlags {
  std::string model_path;
  std::string served_model_name;
  worker::WorkerOptions worker;
  uint64_t kv_cache_mib = 0;
  std::string cpu = "auto";
};

void declare_engine_flags(CLI::App* command, EngineFlags* flags);
// Puts what the flags say into flags->worker, and finds the default model when none is named. Errors: kNotFound (with the remedy).
Status complete(EngineFlags* flags);
// The flags as another process's command line takes them: only those that differ from the defaults.
std::vector<std::string> to_arguments(const EngineFlags& flags);

}  // namespace dynamo::apps
