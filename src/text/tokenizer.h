// Text to tokens and back: byte-level BPE.
//
// Equal, id for id, to the Hugging Face `tokenizers` package on the tokenizers that it reads.
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
  // twice).
  static Result<std::unique_ptr<Tokenizer>> create(TokenizerSpec spec);
  ~Tokenizer();

  struct EncodeOptions {
    bool adds_special = false;  // put the spec's prefix and suffix ids around
    bool parses_added =
        true;  // added tokens written in the text ("<|im_start|>") become their ids; false: they are plain text
  };
  // Invalid UTF-8 is read as the replacement character U+FFFD. Cost: linear in the text, for any text.
  std::vector<TokenId> encode(std::string_view text, EncodeOptions options) const;
  std::vector<TokenId> encode(std::string_view text) const { return encode(text, EncodeOptions{}); }

  // The bytes that the tokens stand for; a sequence of bytes that is no UTF-8 becomes U+FFFD. Ids out of range are left
  // out.
  std::string decode(std::span<const TokenId> tokens, bool skip_special) const;

  // The raw bytes of one token (not always valid UTF-8); empty for an unused or unknown id. Valid as long as the
  // tokenizer.
  std::string_view token_bytes(TokenId token) const;
  bool is_special(TokenId token) const;
  std::optional<TokenId> find_token(
      std::string_view content) const;  // added tokens by content, others by byte-alphabet string
  size_t vocab_size() const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dynamo::text
