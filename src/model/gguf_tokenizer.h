// The tokenizer inside a GGUF file's metadata.
// Keys: tokenizer.ggml.*, GGML's docs/gguf.md.  Private to the module.  Threads: pure functions.
#pragma once

#include "base/status.h"
#include "model/gguf.h"
#include "text/tokenizer_spec.h"

namespace dynamo::model {

// Errors: kNotFound (the file has none), kUnsupported (not byte-level BPE, or a pre-split that is not known, by name),
// kCorrupt (the key, and what is wrong).
Result<text::TokenizerSpec> gguf_tokenizer(const GgufFile& file);

}  // namespace dynamo::model
