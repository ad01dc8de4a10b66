// That a tokenizer fits its model: it must make no token that the embedding has no row for.
// Threads: pure functions.  Private to the module.
#pragma once

#include "base/status.h"
#include "model/model_config.h"
#include "text/tokenizer_spec.h"

namespace dynamo::model {

// Errors: kCorrupt names the token and both sizes.
Status check_tokenizer(const text::TokenizerSpec& spec, const ModelConfig& config);

}  // namespace dynamo::model
