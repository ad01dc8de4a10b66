#include "model/tokenizer_check.h"

#include <fmt/format.h>

#include "model/quote_name.h"

namespace dynamo::model {

Status check_tokenizer(const text::TokenizerSpec& spec, const ModelConfig& config) {
  const uint32_t rows = config.vocab_size;
  if (spec.vocab.size() > rows) {
    return corrupt(fmt::format("the tokenizer has {} tokens, but the embedding {} rows", spec.vocab.size(), rows));
  }
  for (const text::AddedToken& token : spec.added) {
    if (token.id < rows) continue;
    return corrupt(fmt::format("the tokenizer's token {} is number {}, but the embedding has {} rows",
                               quote_name(token.content), token.id, rows));
  }
  for (const auto* ids : {&spec.prefix_ids, &spec.suffix_ids}) {
    for (const TokenId id : *ids) {
      if (id < rows) continue;
      return corrupt(fmt::format("the tokenizer puts token {} around a text, but the embedding has {} rows", id, rows));
    }
  }
  return {};
}

}  // namespace dynamo::model
