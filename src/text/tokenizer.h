// Text to tokens and back: byte-level BPE.
//
// Equal, id for id, to the Hugging Face `tokenizers` package on the tokenizers that it reads.
//   text -> added tokens cut out -> NFC -> pieces (text/pre_split.h) -> merges (text/bpe.h) -> ids
// Source: Sennrich et al. 2016 (BPE); Radford et al. 2019 (byte alphabet).  Speed: docs/performance.md.
// Threads: immutable after create(); every method may be called from any thread at once.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "text/tokenizer_spec.h"

namespace dynamo::text {

class Tokenizer {
 public:
  // Errors: kInvalid (names what is wrong: a merge of unknown tokens, a pattern that does not compile, an id used
  // twice), kUnsupported (a pattern in syntax that would be read otherwise here).
  static Result<std::unique_ptr<Tokenizer>> create(TokenizerSpec spec);
  ~Tokenizer();

  struct EncodeOptions {
    bool adds_special = false;  // put the spec's prefix and suffix ids around
    bool parses_added = true;   // "<|im_start|>" in the text becomes its id; false: it is plain text
  };
  // Invalid UTF-8 is read as the replacement character U+FFFD. Cost: linear in the text; where a piece has no end, as in
  // a million of one letter, times the logarithm of its length, and about 30 bytes of memory for each of its bytes.
  // Requires: less than 4 GiB of text.
  std::vector<TokenId> encode(std::string_view text, EncodeOptions options) const;
  std::vector<TokenId> encode(std::string_view text) const { return encode(text, EncodeOptions{}); }

  // A text of `bytes` bytes has at least this many tokens, put-around ones aside. Tells without encoding it that a text is
  // far too long; 0 for a tokenizer of which nothing can be said (an added token swallows the white space around it, or
  // bytes without a token vanish).
  size_t least_tokens(size_t bytes) const;

  // The bytes that the tokens stand for; what is no UTF-8 in them becomes U+FFFD, one for each maximal subpart (which is
  // what Python and Rust do). Ids out of range are left out.
  std::string decode(std::span<const TokenId> tokens, bool skip_special) const;

  // The raw bytes of one token (not always valid UTF-8); empty for an unused or unknown id. Valid as long as the
  // tokenizer. An added token whose content is all in the byte alphabet has the bytes that this stands for, as in the
  // `tokenizers` package: for "<|im_end|>" its own, but for "Ġ" a space. One that is `normalized` is so here too.
  std::string_view token_bytes(TokenId token) const;
  bool is_special(TokenId token) const;
  // Added tokens by their content, others by their string in the byte alphabet.
  std::optional<TokenId> find_token(std::string_view content) const;
  // The highest id and one.
  size_t vocab_size() const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dynamo::text
