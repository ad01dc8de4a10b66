// A GGUF file as a ModelSource.
// Threads: immutable after open, but for rows put in order on first use, which a mutex guards; any thread.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "model/model_source.h"

namespace dynamo::model {

// Maps the file and checks every weight that the decoder needs. Errors: those of open_model(), with the path.
Result<std::unique_ptr<ModelSource>> open_gguf(const std::string& path);

// The same for bytes in memory that outlive the result: what a fuzzer feeds.
Result<std::unique_ptr<ModelSource>> open_gguf_bytes(std::span<const std::byte> bytes);

}  // namespace dynamo::model
