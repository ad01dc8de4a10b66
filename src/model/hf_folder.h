// A Hugging Face folder as a ModelSource: config.json, safetensors, tokenizer.json and what goes with them.
// Threads: immutable after open; any thread.  Private to the module.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "model/model_source.h"

namespace dynamo::model {

// Reads the small files, maps the shards and checks every weight that the decoder needs. A folder of the Hugging Face
// cache ("models--org--name") stands for the snapshot that its refs/main names, or for its only one.
// Errors: those of open_model(), with the path.
Result<std::unique_ptr<ModelSource>> open_hf_folder(const std::string& folder, Weights weights);

}  // namespace dynamo::model
