// A GGUF file, or all parts of one that was split, as a ModelSource.
// Threads: immutable after open, but for rows put in order on first use, which a mutex guards; any thread.
// Private to the module.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"
#include "model/model_source.h"

namespace dynamo::model {

// Maps the file, with the other parts if it is one (model/gguf_parts.h), and checks every weight that the decoder needs.
// Errors: those of open_model(), with the path.
Result<std::unique_ptr<ModelSource>> open_gguf(const std::string& path);

// The same for bytes in memory that outlive the result, one or all parts in order: what a fuzzer feeds. Requires: `parts` is
// not empty.
Result<std::unique_ptr<ModelSource>> open_gguf_bytes(std::span<const std::span<const std::byte>> parts);

}  // namespace dynamo::model
