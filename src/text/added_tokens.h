// Finds added tokens ("<|im_start|>") in text, before the merges see it.
//
// At each place the longest token wins; one that wants to be a single word and is not is passed over whole.
// Threads: immutable after construction.  Private to the module.
#pragma once

#include <bitset>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer_spec.h"

namespace dynamo::text {

class AddedTokens {
 public:
  AddedTokens() = default;
  // Requires: no content is empty. Of two that are equal the first is found.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  struct Match {
    const AddedToken* token = nullptr;  // null: none up to the end of the text
    size_t begin = 0;                   // with the white space that the token swallows
    size_t end = 0;
    size_t next = 0;       // where to search on: swallowed space is not skipped, as it may be a token too
    size_t space_end = 0;  // end of the white space that was looked through last
  };
  // The first match after `last`, or in all of the text. White space that `last` took is not swallowed again.
  // Cost: linear in the text up to the match, times the longest content where contents nearly match.
  Match find(std::string_view text, const Match& last) const;

  bool empty() const { return tokens_.empty(); }

 private:
  const AddedToken* longest_at(std::string_view text, size_t at) const;

  std::vector<AddedToken> tokens_;
  // A trie over bytes; node 0 is the root. Its edges are keyed by node << 8 | byte.
  std::unordered_map<uint64_t, uint32_t> edges_;
  std::unordered_map<uint32_t, size_t> ends_;  // node to the token that ends there
  std::bitset<256> first_bytes_;
};

}  // namespace dynamo::text
