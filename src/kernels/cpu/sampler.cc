#include "kernels/cpu/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "kernels/no_token.h"
#include "kernels/philox.h"

namespace dynamo::kernels {
namespace {

// The largest logit, or NaN if any is NaN.
float largest_of(std::span<const float> logits) {
  float largest = -std::numeric_limits<float>::infinity();
  bool has_nan = false;
  for (const float logit : logits) {
    largest = logit > largest ? logit : largest;
    has_nan |= logit != logit;
  }
  return has_nan ? std::numeric_limits<float>::quiet_NaN() : largest;
}

// Changes a logit, within what a float holds; one of -infinity, which the model itself excludes, stays.
void set_logit(float* logit, double value) {
  constexpr double kMost = std::numeric_limits<float>::max();
  if (std::isfinite(*logit)) *logit = static_cast<float>(std::clamp(value, -kMost, kMost));
}

double log_sum_exp(std::span<const float> logits, float largest) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

}  // namespace

// Repetition, presence and frequency penalties, bias, and tokens that must not be drawn. Returns: whether there are
// any.
bool Sampler::penalize(std::span<float> logits, const Draw& draw, const DrawnTokens& drawn) {
  const SamplingParams& sampling = *draw.sampling;
  const bool has_repetition = sampling.repetition_penalty != 1.0F;
  const bool has_presence = sampling.presence_penalty != 0 || sampling.frequency_penalty != 0;
  if (has_repetition || has_presence) {
    counts_.resize(logits.size());
    drawn.read(draw.seat, static_cast<uint32_t>(draw.output.size()), draw.index, &pending_);
  }
  if (has_repetition) {
    const std::span<const TokenId> all[] = {draw.prompt, draw.output, pending_};
    for (const auto tokens : all) {
      for (const TokenId token : tokens) {
        if (counts_[token]++ > 0) continue;  // once per distinct token
        set_logit(&logits[token], logits[token] > 0 ? double{logits[token]} / sampling.repetition_penalty
                                                    : double{logits[token]} * sampling.repetition_penalty);
      }
    }
    for (const auto tokens : all) {
      for (const TokenId token : tokens) counts_[token] = 0;
    }
  }
  if (has_presence) {
    const std::span<const TokenId> output[] = {draw.output, pending_};
    for (const auto tokens : output) {
      for (const TokenId token : tokens) {
        if (counts_[token]++ == 0) set_logit(&logits[token], double{logits[token]} - sampling.presence_penalty);
        set_logit(&logits[token], double{logits[token]} - sampling.frequency_penalty);
      }
    }
    for (const auto tokens : output) {
      for (const TokenId token : tokens) counts_[token] = 0;
    }
  }
  for (const auto& [token, bias] : sampling.logit_bias) {
    if (token < logits.size()) set_logit(&logits[token], double{logits[token]} + bias);
  }
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  for (const TokenId token : draw.masked) {
    if (token < logits.size()) logits[token] = kNever;
  }
  if (!draw.allowed.empty()) {
    CHECK(draw.allowed.size() >= (logits.size() + 31) / 32);
    for (TokenId token = 0; token < logits.size(); ++token) {
      if ((draw.allowed[token / 32] >> (token % 32) & 1) == 0) logits[token] = kNever;
    }
  }
  return has_repetition || has_presence || !sampling.logit_bias.empty() || !draw.masked.empty() ||
         !draw.allowed.empty();
}

// Fills candidates_ with the `count` largest logits, largest first; of equal ones the lower id first.
void Sampler::most_likely(std::span<const float> logits, size_t count) {
  count = std::min(count, logits.size());
  const auto is_before = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  candidates_.clear();
  candidates_.reserve(std::min(logits.size(), 4 * count + 64));
  // Keep a pool of at most 4 count; whenever it is full, cut it to the best and raise the bar.
  float bar = -std::numeric_limits<float>::infinity();
  const auto cut = [&] {
    if (candidates_.size() <= count) return;
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(count - 1),
                     candidates_.end(), is_before);
    candidates_.resize(count);
    bar = candidates_.back().logit;
    for (const Candidate& candidate : candidates_) bar = std::min(bar, candidate.logit);
  };
  for (TokenId token = 0; token < logits.size(); ++token) {
    if (logits[token] < bar) continue;
    candidates_.push_back({token, logits[token]});
    if (candidates_.size() >= 4 * count + 64) cut();
  }
  cut();
  std::sort(candidates_.begin(), candidates_.end(), is_before);
}

TokenLogprobs Sampler::logprobs_of(std::span<const float> logits, TokenId drawn, uint32_t count, float largest) {
  const double normalizer = log_sum_exp(logits, largest);
  TokenLogprobs logprobs;
  logprobs.drawn = {drawn, static_cast<float>(logits[drawn] - normalizer)};
  if (count > 0) {
    most_likely(logits, count);
    for (const Candidate& candidate : candidates_) {
      logprobs.top.push_back({candidate.token, static_cast<float>(candidate.logit - normalizer)});
    }
  }
  return logprobs;
}

// Temperature, top-k, top-p, min-p, draw. Leaves in candidates_ what was drawn from.
TokenId Sampler::draw_one(std::span<const float> logits, const Draw& draw, float largest) {
  const SamplingParams& sampling = *draw.sampling;
  const double scale = 1.0 / sampling.temperature;
  const auto weight = [&](float logit) { return std::exp((double{logit} - largest) * scale); };
  const size_t top_k = sampling.top_k > 0 ? std::min<size_t>(sampling.top_k, logits.size()) : logits.size();
  double total = 0;  // of the weights that top-p counts
  if (top_k < logits.size()) {
    most_likely(logits, top_k);
    for (const Candidate& candidate : candidates_) total += weight(candidate.logit);
  } else {
    for (const float logit : logits) total += weight(logit);
    if (sampling.top_p < 1.0F) {
      // Take ever more of the most likely until they hold enough.
      for (size_t count = 64;; count *= 8) {
        most_likely(logits, count);
        double held = 0;
        for (const Candidate& candidate : candidates_) held += weight(candidate.logit);
        if (held >= sampling.top_p * total || candidates_.size() == logits.size()) break;
      }
    } else {
      candidates_.resize(logits.size());
      for (TokenId token = 0; token < logits.size(); ++token) candidates_[token] = {token, logits[token]};
    }
  }
  if (sampling.top_p < 1.0F) {
    double held = 0;
    size_t kept = 0;
    while (kept < candidates_.size() && (kept == 0 || held < sampling.top_p * total))
      held += weight(candidates_[kept++].logit);
    candidates_.resize(kept);
  }
  if (sampling.min_p > 0)
    std::erase_if(candidates_, [&](const Candidate& candidate) { return weight(candidate.logit) < sampling.min_p; });
  double sum = 0;
  for (const Candidate& candidate : candidates_) sum += weight(candidate.logit);
  double left = uniform_for(draw.seed, draw.index) * sum;
  for (const Candidate& candidate : candidates_) {
    left -= weight(candidate.logit);
    if (left < 0) return candidate.token;
  }
  // Rounding left nothing to stop at: the last that has any weight.
  for (auto candidate = candidates_.rbegin(); candidate != candidates_.rend(); ++candidate) {
    if (weight(candidate->logit) > 0) return candidate->token;
  }
  return candidates_.front().token;
}

Result<DrawnToken> Sampler::draw(std::span<float> logits, const Draw& draw, const DrawnTokens& drawn) {
  float largest = largest_of(logits);
  if (!std::isfinite(largest)) return logits_are_no_numbers();
  if (penalize(logits, draw, drawn)) largest = largest_of(logits);
  if (!std::isfinite(largest)) return no_token_is_left();
  DrawnToken token;
  if (draw.sampling->temperature == 0) {
    token.token = static_cast<TokenId>(std::ranges::find(logits, largest) - logits.begin());
  } else {
    token.token = draw_one(logits, draw, largest);
  }
  if (draw.logprobs) token.logprobs = logprobs_of(logits, token.token, *draw.logprobs, largest);
  return token;
}

}  // namespace dynamo::kernels
