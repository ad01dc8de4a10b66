// What to ask a server: conversations of one or more turns, made from a few numbers or read from a trace.
//
// Prompts are recipes: a Piece is a seed and a length, and the same piece always has the same tokens. So prompts share exactly the
// beginnings that a workload wants, and millions of tokens need no memory until they are sent.  Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace dynamo::load {

struct Piece {
  uint64_t seed = 0;
  uint32_t tokens = 0;
  bool operator==(const Piece&) const = default;
};

// One request. Its prompt is everything before it in the conversation and `prompt`.
struct Turn {
  std::vector<Piece> prompt;
  std::string text;         // instead of pieces, if not empty
  uint32_t max_tokens = 1;  // exactly so many are generated, unless `text` is set: then at most
  // What later turns take for this one's answer where the server's own cannot be sent back as tokens.
  Piece answer() const { return {prompt.empty() ? 0 : ~prompt.back().seed, max_tokens}; }
};

struct Conversation {
  std::optional<Duration> at;  // when it begins, from the start of the run; none: when the schedule says
  std::vector<Piece> opening;  // a system prompt
  std::vector<Turn> turns;     // at least one
};

struct SyntheticOptions {
  uint32_t conversations = 100;
  uint32_t turns = 1;
  uint32_t input_tokens = 512;  // new in each turn
  uint32_t output_tokens = 64;
  uint32_t shared_prefixes = 0;   // system prompts that conversations share in turn; 0: none
  uint32_t prefix_tokens = 1024;  // of each
  double spread = 0;              // lengths vary uniformly by this share to either side.  [0, 1)
  uint64_t seed = 1;
};
std::vector<Conversation> synthetic(const SyntheticOptions& options);

// One prompt per line, empty lines left out, used in turn until there are `conversations`. Errors: kNotFound, kInvalid (no prompts).
Result<std::vector<Conversation>> from_prompt_file(const std::string& path, uint32_t conversations,
                                                   uint32_t max_tokens);

struct TraceOptions {
  uint32_t block_tokens = 512;    // tokens that a hash id stands for
  uint32_t max_input_tokens = 0;  // longer requests are left out; 0: none are
  uint32_t most = 0;              // requests; 0: all
  double time_scale = 1;          // 2: twice as slow.  > 0
};
struct Trace {
  std::vector<Conversation> conversations;  // in order of time
  uint32_t left_out = 0;                    // longer than max_input_tokens
};
// Reads a trace in Mooncake's format: JSON lines with timestamp (ms), input_length, output_length and hash_ids, one for each
// block_tokens of the input begun.  Source: Qin et al., "Mooncake", 2024, section "Open-source trace".
// Errors: kNotFound, kCorrupt (file and line).
Result<Trace> read_trace(const std::string& path, const TraceOptions& options);

// The tokens of pieces in order, each in [first_token, first_token + tokens).
std::vector<uint32_t> tokens_of(const std::vector<Piece>& pieces, uint32_t first_token, uint32_t tokens);
// As text: for each token a short English word, about one token in most vocabularies.
std::string text_of(const std::vector<Piece>& pieces);

}  // namespace dynamo::load
