// What a prompt is: its tokens, what stands in the place of tokens (an image), and the salt that keeps its cache apart.
// Threads: values and pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"

namespace dynamo::kv {

// 128 bits that stand for bytes; all zero: for none.
struct Fingerprint {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Fingerprint&) const = default;
};

// The salt that a client names: XXH3-128 with seed 1337, so that every frontend makes it alike. Who knows the name has
// the salt; who does not cannot aim at it.  Returns: `low` is not 0.  Requires: the name is not empty.
Fingerprint salt_of(std::string_view name);

// Positions of a prompt that hold something else than tokens. The tokens there, which the model's input has in that
// place, say nothing of it; the fingerprint does: equal fingerprints are equal contents, and nothing else is compared.
// So where clients bring the contents, it is of a cryptographic hash.
struct PromptSpan {
  uint32_t begin = 0;
  uint32_t end = 0;  // behind the last
  Fingerprint fingerprint;
  bool operator==(const PromptSpan&) const = default;
};

struct Prompt {
  std::vector<TokenId> tokens;
  std::vector<PromptSpan> spans;  // as check() demands; mostly none
  Fingerprint salt;               // caches of different salts never mix

  size_t size() const { return tokens.size(); }
  bool operator==(const Prompt&) const = default;
};

// A prompt, or one with the tokens of its answer behind it, that is somebody else's.
struct PromptView {
  std::span<const TokenId> tokens;
  std::span<const PromptSpan> spans = {};
  Fingerprint salt = {};

  PromptView(std::span<const TokenId> of, std::span<const PromptSpan> at = {}, Fingerprint by = {})
      : tokens(of), spans(at), salt(by) {}
  PromptView(const Prompt& prompt) : tokens(prompt.tokens), spans(prompt.spans), salt(prompt.salt) {}
};

// Errors: kInvalid (no tokens; a span that is empty, out of order, in another, or beyond the tokens), by position.
Status check(const Prompt& prompt);

// The words that tell a block from others that follow the same blocks: what a cache compares, and what its hash is of.
// They are its tokens; then, of a prompt's first block, the salt if there is one; then each span that touches the
// block.
// Spec: docs/reference/block_hash.md.
// Returns: mostly a part of the tokens; what they are not the whole of is put together in `scratch`, and valid as long
// as that stays as it is.  Requires: the prompt has the whole block.
std::span<const uint32_t> block_words(const PromptView& prompt, uint32_t block_tokens, size_t block,
                                      std::vector<uint32_t>* scratch);

}  // namespace dynamo::kv
