// What a GGUF file's metadata says about the model's shape.
// Keys: GGML's docs/gguf.md, and those that the families name.  Private to the module.  Threads: pure functions.
#pragma once

#include "base/status.h"
#include "model/gguf.h"
#include "model/model_config.h"

namespace dynamo::model {

// Requires nothing of the file but that it was parsed. Errors: kCorrupt (a key missing, of a wrong type or out of range,
// by name), kUnsupported (an architecture or a feature that is not computed here, by name).
Result<ModelConfig> gguf_config(const GgufFile& file);

}  // namespace dynamo::model
