// An announced worker and the bundle of its model, for tests: a model whose 256 tokens are the bytes.
#pragma once

#include <string>

#include <fmt/format.h>

#include "discovery/instance.h"
#include "model_bundle/model_bundle.h"
#include "text/byte_alphabet.h"

namespace dynamo::frontend {

inline std::string test_bundle(const std::string& chat_template = "") {
  model_bundle::Parts parts;
  parts.card.architecture = "llama";
  parts.card.context_length = 100;
  parts.card.vocab_size = 256;
  parts.chat_template = chat_template;
  for (int byte = 0; byte < 256; ++byte)
    parts.tokenizer.vocab.emplace_back(text::alphabet_character(static_cast<unsigned char>(byte)));
  return model_bundle::to_bytes(parts);
}

inline discovery::WorkerInstance test_worker(uint64_t instance, discovery::Role role = discovery::Role::kAggregated) {
  discovery::WorkerInstance one;
  one.instance = instance;
  one.name = fmt::format("worker-{}", instance);
  one.role = role;
  one.model = std::string("m");  // g++ 12 warns of an assignment of the literal
  one.address = "127.0.0.1:1";
  one.block_tokens = 16;
  one.total_blocks = 100;
  one.max_batch_tokens = 512;
  one.context_length = 100;
  static const std::string digest = model_bundle::digest_of(test_bundle());
  one.model_digest = digest;
  return one;
}

}  // namespace dynamo::frontend
