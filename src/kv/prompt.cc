#include "kv/prompt.h"

#include <xxhash.h>

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "kv/block_hash.h"

namespace dynamo::kv {
namespace {

void append(const Fingerprint& fingerprint, std::vector<uint32_t>* words) {
  for (const uint64_t half : {fingerprint.low, fingerprint.high}) {
    words->push_back(static_cast<uint32_t>(half));
    words->push_back(static_cast<uint32_t>(half >> 32));
  }
}

}  // namespace

Fingerprint salt_of(std::string_view name) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(name.data(), name.size(), kHashSeed);
  return {.low = std::max<uint64_t>(hash.low64, 1), .high = hash.high64};
}

Status check(const Prompt& prompt) {
  if (prompt.tokens.empty()) return invalid("the prompt is empty");
  uint32_t end = 0;  // of the span before
  for (const PromptSpan& span : prompt.spans) {
    if (span.begin < end || span.begin >= span.end || span.end > prompt.size())
      return invalid(
          fmt::format("the prompt's span at [{}, {}) must not be empty, and lie behind the span before, which ends at "
                      "{}, and within the {} tokens",
                      span.begin, span.end, end, prompt.size()));
    end = span.end;
  }
  return {};
}

std::span<const uint32_t> block_words(const PromptView& prompt, uint32_t block_tokens, size_t block,
                                      std::vector<uint32_t>* scratch) {
  const size_t begin = block * block_tokens;
  const size_t end = begin + block_tokens;
  CHECK(end <= prompt.tokens.size());
  const auto tokens = prompt.tokens.subspan(begin, block_tokens);
  const bool is_salted = block == 0 && prompt.salt != Fingerprint();
  auto span = std::ranges::upper_bound(prompt.spans, begin, {}, &PromptSpan::end);
  if (!is_salted && (span == prompt.spans.end() || span->begin >= end)) return tokens;
  scratch->assign(tokens.begin(), tokens.end());
  if (is_salted) append(prompt.salt, scratch);
  for (; span != prompt.spans.end() && span->begin < end; ++span) {
    scratch->push_back(span->begin);
    scratch->push_back(span->end);
    append(span->fingerprint, scratch);
  }
  return *scratch;
}

}  // namespace dynamo::kv
