// Reads Hugging Face's tokenizer.json into a TokenizerSpec.
// Format: the `tokenizers` package's serialisation, version 1.0.  Threads: pure functions.
#pragma once

#include <string_view>

#include "base/status.h"
#include "text/tokenizer_spec.h"

namespace dynamo::text {

// Its truncation and padding are left aside: they are for training. Memory: a small multiple of the document.
// Errors: kInvalid (not JSON, a part missing or of the wrong type, an id used twice or far too large, with its path),
// kUnsupported (a model, normalizer, pre-tokenizer, post-processor or decoder that is not of the byte-level BPE family,
// by path and name).
Result<TokenizerSpec> tokenizer_spec_from_json(std::string_view json);

// The pre-split of a family of tokenizers by the name that GGUF files use: "gpt-2", "smollm", "qwen2", "llama-bpe".
// Sets split_patterns, splits_digits, ignores_merges and normalizes_nfc of `spec`. Errors: kUnsupported (name unknown).
Status set_pre_split(std::string_view family, TokenizerSpec* spec);

}  // namespace dynamo::text
