// What a frontend needs of a model, as bytes that travel: card, tokenizer and chat template.
//
// Named by its digest (SHA-256, hexadecimal), so that a frontend fetches it once, whichever worker has it, and workers of one name
// can be seen to agree. The served name and the worker's own context length are not part of it. Threads: pure functions.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "generate/model_card.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace dynamo::model_bundle {

struct Parts {
  ModelCard card;  // without name
  text::TokenizerSpec tokenizer;
  std::string chat_template;  // source; empty: none
};

std::string to_bytes(const Parts& parts);
std::string digest_of(std::string_view bytes);
// Errors: kCorrupt (the digest is not of these bytes, or they cannot be read).
Result<Parts> from_bytes(std::string_view bytes, std::string_view digest);

}  // namespace dynamo::model_bundle
