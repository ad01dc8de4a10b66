// What a byte-level BPE tokenizer is made of, whichever file it came from.
// Filled from tokenizer.json (text/tokenizer_json.h) or from a GGUF's metadata (model/gguf_tokenizer.h).
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace dynamo::text {

// A token that is cut out of the text before the merges see it.
struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool is_special = false;  // skipped by decode(skip_special)
  bool lstrip = false;      // swallows white space on its left / right
  bool rstrip = false;
  bool single_word = false;
  bool normalized = false;  // searched for in the normalised text instead of the raw text
};

struct TokenizerSpec {
  // Token strings in the byte-level alphabet of GPT-2 ("Ġthe"); the index is the id. Empty where an id is not used.
  // An added token may stand here too, written as its content.
  std::vector<std::string> vocab;
  std::vector<std::pair<std::string, std::string>> merges;  // best first
  // Pre-split patterns (PCRE2 syntax), applied one after the other, each piece of the former cut by the next; matches
  // and what lies between them are pieces of their own.
  std::vector<std::string> split_patterns;
  // True: digits are cut one by one before the patterns (tokenizers' Digits(individual_digits=true)).
  bool splits_digits = false;
  bool normalizes_nfc = false;
  bool adds_prefix_space = false;  // before each text between added tokens that does not begin with one
  bool ignores_merges = false;     // a piece that is in the vocabulary is one token, merges or not (Llama 3)
  std::vector<AddedToken> added;
  // Ids that encode(add_special) puts before and after the text.
  std::vector<TokenId> prefix_ids;
  std::vector<TokenId> suffix_ids;
};

}  // namespace dynamo::text
