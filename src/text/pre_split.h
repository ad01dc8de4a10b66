// Cuts text into the pieces that merges never cross.
//
// The patterns of GPT-2, SmolLM, Qwen2 and Llama 3 are scanned by hand (pre_split_scan.cc); any other pattern runs in
// PCRE2. Of the two, the scanners define what the tokenizer does: they know the same Unicode as the `tokenizers`
// package; PCRE2 brings its own, so a pattern that it runs may see characters newer than it as unassigned.
// Threads: immutable after create().  Private to the module.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace dynamo::text {

inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Ends of pieces, as offsets in the text; the last one is its length.
using PieceEnds = std::vector<size_t>;

// One cut after another, each inside the pieces of the former.
class PieceSplitter {
 public:
  virtual ~PieceSplitter() = default;
  // Appends the ends of the pieces of `text`, which starts at `offset` of the whole. Requires: `text` is not empty and
  // valid UTF-8. Cost: linear for the scanners; PCRE2 stops at a limit and leaves the rest of the text in one piece.
  virtual void split(std::string_view text, size_t offset, PieceEnds* ends) const = 0;
};

class PreSplit {
 public:
  enum class Engine { kFastest, kRegex };  // kRegex: PCRE2 for every pattern, for tests

  // Errors: kInvalid (a pattern does not compile, with the place), kUnsupported (syntax that PCRE2 reads otherwise).
  static Result<PreSplit> create(std::span<const std::string> patterns, bool splits_digits,
                                 Engine engine = Engine::kFastest);

  // Replaces `ends`. Requires: `text` is valid UTF-8.
  void split(std::string_view text, PieceEnds* ends) const;

 private:
  std::vector<std::unique_ptr<const PieceSplitter>> stages_;
};

// The hand-written scanner of `pattern`, or null. With `splits_digits`, digits are cut out one by one before it.
std::unique_ptr<const PieceSplitter> scanner_of(std::string_view pattern, bool splits_digits);
std::unique_ptr<const PieceSplitter> digit_scanner();

// Errors: as PreSplit::create().
Result<std::unique_ptr<const PieceSplitter>> regex_splitter(std::string_view pattern);

}  // namespace dynamo::text
