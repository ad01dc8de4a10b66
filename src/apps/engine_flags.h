// The options of an engine and its model, for every command that runs one.
#pragma once

#include <string>

#include "apps/options.h"
#include "base/status.h"
#include "worker/model_worker.h"

namespace dynamo::apps {

struct EngineFlags {
  std::string model_path;
  std::string served_model_name;
  worker::WorkerOptions worker;
};

OptionSet options_of(EngineFlags* flags);
// Puts the default model into flags->model_path when none is named. Errors: kNotFound (with the remedy).
Status find_model(EngineFlags* flags);

}  // namespace dynamo::apps
