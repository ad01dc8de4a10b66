// Draws a token from each row of logits, without sorting: one block a draw.
//
// Every cut (top-k, top-p, the alternatives that are reported) is a prefix of the tokens in the order "larger logit
// first, of equal ones the lower id". It is found digit by digit from the top, as in a radix sort, by how much the tokens
// of each digit weigh: one each for top-k, their probability for top-p. Weights are whole numbers, multiples of 2^-44 of
// the most likely token's, so that sums do not depend on the order in which threads add them: a draw is a pure function
// of its row and its settings. The CPU's sampler (kernels/cpu/sampler.h) is the definition.
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/philox.h"

namespace dynamo::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 1024;
constexpr uint32_t kWarps = kThreads / kWarp;
constexpr uint32_t kDigits = 256;
constexpr float kNever = -INFINITY;
using Weight = unsigned long long;          // what atomicAdd takes
constexpr float kUnit = 17592186044416.0F;  // 2^44: 2^18 tokens of it fit

// Order-preserving bits: a larger float has larger bits.
__device__ uint32_t bits_of(float x) {
  const uint32_t bits = __float_as_uint(x);
  return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

// The tokens of larger bits, and of equal bits the first `ties` by id.
struct Prefix {
  uint32_t bits = 0;
  uint32_t ties = ~0U;
};

// What a block works on.
struct Row {
  float* logits;
  uint32_t size;
  float most;   // the largest logit
  float scale;  // 1 / temperature

  __device__ Weight weight(float logit) const { return static_cast<Weight>(expf((logit - most) * scale) * kUnit); }
};

struct Scratch {
  Weight digits[kDigits];
  Weight sums[kWarps];
  float floats[kWarps];
  uint32_t counts[kWarps];
  // Of whichever thread found it.
  uint32_t digit;
  Weight left;
  uint32_t token;
};

__device__ void set_logit(float* logit, float value) {
  if (isfinite(*logit)) *logit = fminf(fmaxf(value, -3.402823466e38F), 3.402823466e38F);
}

// The shortest prefix that weighs at least `wanted` (> 0). `measure(logit)` is what a token weighs.
template <class Measure>
__device__ Prefix prefix_of(const Row& row, Weight wanted, const Measure& measure, Scratch* scratch) {
  uint32_t known = 0;  // the digits found, in place
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (uint32_t i = threadIdx.x; i < kDigits; i += kThreads) scratch->digits[i] = 0;
    __syncthreads();
    const uint32_t above = shift == 24 ? 0 : ~0U << (shift + 8);
    for (uint32_t i = threadIdx.x; i < row.size; i += kThreads) {
      const float logit = row.logits[i];
      const uint32_t bits = bits_of(logit);
      if ((bits & above) != (known & above)) continue;
      const Weight weight = measure(logit);
      if (weight > 0) atomicAdd(&scratch->digits[bits >> shift & 255], weight);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      uint32_t digit = kDigits - 1;
      uint32_t least = digit;  // the lowest that weighs anything
      while (true) {
        const Weight here = scratch->digits[digit];
        if (here > 0) least = digit;
        if (here >= wanted || digit == 0) break;
        wanted -= here;
        --digit;
      }
      // Rounding may have asked for more than there is: then all of it.
      if (scratch->digits[digit] < wanted) {
        digit = least;
        wanted = scratch->digits[digit];
      }
      scratch->digit = digit;
      scratch->left = wanted;
    }
    __syncthreads();
    known |= scratch->digit << shift;
    wanted = scratch->left;
    __syncthreads();
  }
  const float at = __uint_as_float(known & 0x80000000U ? known & 0x7fffffffU : ~known);
  const Weight each = measure(at);
  return {known, each == 0 ? ~0U : static_cast<uint32_t>((wanted + each - 1) / each)};
}

// Calls visit(token, logit, is_in) for all tokens of each warp's share in order; a share is a run of ids. All lanes of a
// warp are there at each call; tokens beyond the row have is_in == false.
// Within ties only the first by id are in, so the ties before a share are counted first.
template <class Visit>
__device__ void visit_prefix(const Row& row, const Prefix& prefix, Scratch* scratch, const Visit& visit) {
  const uint32_t warp = threadIdx.x / kWarp;
  const uint32_t lane = threadIdx.x % kWarp;
  const uint32_t share = (row.size + kThreads - 1) / kThreads * kWarp;
  const uint32_t begin = min(row.size, warp * share);
  const uint32_t end = min(row.size, begin + share);
  uint32_t ties = 0;
  if (prefix.ties != ~0U) {
    uint32_t own = 0;
    for (uint32_t i = begin + lane; i < end; i += kWarp) own += bits_of(row.logits[i]) == prefix.bits;
    own = warp_sum(own);
    __syncthreads();
    if (lane == 0) scratch->counts[warp] = own;
    __syncthreads();
    for (uint32_t w = 0; w < warp; ++w) ties += scratch->counts[w];
  }
  for (uint32_t first = begin; first < end; first += kWarp) {
    const uint32_t token = first + lane;
    const float logit = token < end ? row.logits[token] : kNever;
    const uint32_t bits = bits_of(logit);
    const bool is_tie = token < end && bits == prefix.bits;
    const uint32_t all_ties = __ballot_sync(kAllLanes, is_tie);
    const uint32_t before = ties + __popc(all_ties & ((1U << lane) - 1));
    ties += __popc(all_ties);
    visit(token, logit, token < end && (bits > prefix.bits || (is_tie && before < prefix.ties)));
  }
}

// Penalties, biases, masks. Returns: whether there are any.
__device__ bool penalize(const StepTables& step, const Seats& seats, const DrawEntry& draw, Row* row) {
  const bool repeats = draw.repetition_penalty != 1;
  const bool occurs = draw.presence_penalty != 0 || draw.frequency_penalty != 0;
  // Token `i` of the answer so far, and how many there are.
  const auto output = [&](uint32_t i) {
    return i < draw.output.count ? step.words[draw.output.at + i]
                                 : seats.recent[static_cast<size_t>(draw.seat) * seats.depth + i % seats.depth];
  };
  if (repeats || occurs) {
    uint32_t* counts = step.counts + static_cast<size_t>(draw.counts) * row->size;
    const auto for_all = [&](bool with_prompt, const auto& work) {
      const uint32_t prompt = with_prompt ? draw.prompt.count : 0;
      for (uint32_t i = threadIdx.x; i < prompt + draw.index; i += kThreads) {
        const uint32_t token = i < prompt ? step.words[draw.prompt.at + i] : output(i - prompt);
        if (token < row->size) work(token);
      }
      __syncthreads();
    };
    if (repeats) {
      for_all(true, [&](uint32_t token) {
        if (atomicAdd(&counts[token], 1) > 0) return;  // once per distinct token
        float* logit = &row->logits[token];
        set_logit(logit, *logit > 0 ? *logit / draw.repetition_penalty : *logit * draw.repetition_penalty);
      });
      for_all(true, [&](uint32_t token) { counts[token] = 0; });
    }
    if (occurs) {
      for_all(false, [&](uint32_t token) { atomicAdd(&counts[token], 1); });
      for_all(false, [&](uint32_t token) {
        const uint32_t count = atomicExch(&counts[token], 0);
        if (count == 0) return;
        float* logit = &row->logits[token];
        set_logit(logit, *logit - draw.presence_penalty - draw.frequency_penalty * static_cast<float>(count));
      });
    }
  }
  for (uint32_t i = threadIdx.x; i < draw.bias_tokens.count; i += kThreads) {
    const uint32_t token = step.words[draw.bias_tokens.at + i];
    if (token >= row->size) continue;
    set_logit(&row->logits[token],
              row->logits[token] + __uint_as_float(step.words[draw.bias_tokens.at + draw.bias_tokens.count + i]));
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < draw.masked.count; i += kThreads) {
    const uint32_t token = step.words[draw.masked.at + i];
    if (token < row->size) row->logits[token] = kNever;
  }
  if (draw.allowed.count > 0) {
    for (uint32_t i = threadIdx.x; i < row->size; i += kThreads) {
      if ((step.words[draw.allowed.at + i / 32] >> (i % 32) & 1) == 0) row->logits[i] = kNever;
    }
  }
  __syncthreads();
  return repeats || occurs || draw.bias_tokens.count > 0 || draw.masked.count > 0 || draw.allowed.count > 0;
}

// The largest logit; NaN if any is NaN.
__device__ float largest_of(const Row& row, Scratch* scratch) {
  float most = kNever;
  bool has_nan = false;
  for (uint32_t i = threadIdx.x; i < row.size; i += kThreads) {
    has_nan |= isnan(row.logits[i]);
    most = fmaxf(most, row.logits[i]);
  }
  most = block_max(most, scratch->floats);
  return __syncthreads_or(has_nan) ? NAN : most;
}

// The first token of the largest logit.
__device__ uint32_t most_likely(const Row& row, Scratch* scratch) {
  if (threadIdx.x == 0) scratch->token = ~0U;
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < row.size; i += kThreads) {
    if (row.logits[i] == row.most) {
      atomicMin(&scratch->token, i);
      break;
    }
  }
  __syncthreads();
  return scratch->token;
}

template <class Measure>
__device__ Weight total_of(const Row& row, const Prefix& prefix, Scratch* scratch, const Measure& measure) {
  Weight sum = 0;
  visit_prefix(row, prefix, scratch, [&](uint32_t, float logit, bool is_in) { sum += is_in ? measure(logit) : 0; });
  return block_sum(sum, scratch->sums);
}

__device__ uint32_t draw_one(const Row& row, const DrawEntry& draw, Scratch* scratch) {
  const auto weight = [&](float logit) { return row.weight(logit); };
  Prefix prefix;
  const bool cuts = draw.top_k > 0 && draw.top_k < row.size;
  if (cuts) prefix = prefix_of(row, draw.top_k, [](float) { return Weight{1}; }, scratch);
  if (draw.top_p < 1) {
    const Weight total = total_of(row, prefix, scratch, weight);
    const auto wanted = static_cast<Weight>(ceil(static_cast<double>(draw.top_p) * static_cast<double>(total)));
    // It ends within `prefix`, whose weight is at least as much.
    prefix = prefix_of(row, min(total, max(wanted, Weight{1})), weight, scratch);
  }
  const auto least = static_cast<Weight>(draw.min_p * kUnit);
  const auto kept = [&](float logit) {
    const Weight of = row.weight(logit);
    return of >= least ? of : 0;
  };
  // Each warp's share of the weight, then the token within the share where the draw falls.
  const uint32_t warp = threadIdx.x / kWarp;
  const uint32_t lane = threadIdx.x % kWarp;
  Weight own = 0;
  visit_prefix(row, prefix, scratch, [&](uint32_t, float logit, bool is_in) { own += is_in ? kept(logit) : 0; });
  own = warp_sum(own);
  __syncthreads();
  if (lane == 0) scratch->sums[warp] = own;
  if (threadIdx.x == 0) scratch->token = ~0U;
  __syncthreads();
  Weight before = 0;
  Weight total = 0;
  for (uint32_t w = 0; w < kWarps; ++w) {
    if (w < warp) before += scratch->sums[w];
    total += scratch->sums[w];
  }
  const auto drawn = static_cast<Weight>(uniform_for(draw.seed, draw.index) * static_cast<double>(total));
  const Weight at = min(drawn, total - 1);
  visit_prefix(row, prefix, scratch, [&](uint32_t token, float logit, bool is_in) {
    const Weight here = is_in ? kept(logit) : 0;
    Weight upto = here;
#pragma unroll
    for (uint32_t by = 1; by < kWarp; by *= 2) {
      const Weight other = __shfl_up_sync(kAllLanes, upto, by);
      if (lane >= by) upto += other;
    }
    if (here > 0 && at >= before + upto - here && at < before + upto) scratch->token = token;
    before += __shfl_sync(kAllLanes, upto, kWarp - 1);
  });
  __syncthreads();
  return scratch->token;
}

// Log probabilities of the whole distribution, before temperature.
__device__ void report(Row row, const DrawEntry& draw, uint32_t drawn, Scratch* scratch, DrawResult* result) {
  row.scale = 1;
  const Weight total = total_of(row, Prefix{}, scratch, [&](float logit) { return row.weight(logit); });
  const float normalizer = row.most + static_cast<float>(log(static_cast<double>(total) / static_cast<double>(kUnit)));
  if (threadIdx.x == 0) {
    result->logprob = row.logits[drawn] - normalizer;
    result->top_count = 0;
    scratch->token = 0;
  }
  const uint32_t count = min(static_cast<uint32_t>(draw.logprobs), row.size);
  if (count == 0) return;
  const Prefix prefix = prefix_of(row, count, [](float) { return Weight{1}; }, scratch);
  visit_prefix(row, prefix, scratch, [&](uint32_t token, float logit, bool is_in) {
    if (!is_in) return;
    const uint32_t at = atomicAdd(&scratch->token, 1);
    result->top_tokens[at] = token;
    result->top_logprobs[at] = logit - normalizer;
  });
  __syncthreads();
  if (threadIdx.x != 0) return;
  // Few: put in order by one thread.
  for (uint32_t i = 1; i < count; ++i) {
    for (uint32_t j = i; j > 0; --j) {
      const float a = result->top_logprobs[j - 1];
      const float b = result->top_logprobs[j];
      const uint32_t a_token = result->top_tokens[j - 1];
      const uint32_t b_token = result->top_tokens[j];
      if (a > b || (a == b && a_token < b_token)) break;
      result->top_logprobs[j - 1] = b;
      result->top_logprobs[j] = a;
      result->top_tokens[j - 1] = b_token;
      result->top_tokens[j] = a_token;
    }
  }
  result->top_count = count;
}

__global__ void __launch_bounds__(kThreads) draw_rows(StepTables step, Seats seats, Rows logits, DrawResult* results) {
  __shared__ Scratch scratch;
  const DrawEntry draw = step.draws[blockIdx.x];
  DrawResult* result = results + blockIdx.x;
  Row row{static_cast<float*>(logits.data) + blockIdx.x * logits.stride, logits.columns, 0, 1};
  row.most = largest_of(row, &scratch);
  DrawOutcome outcome = isfinite(row.most) ? DrawOutcome::kDrawn : DrawOutcome::kNotFinite;
  if (outcome == DrawOutcome::kDrawn && penalize(step, seats, draw, &row)) {
    row.most = largest_of(row, &scratch);
    if (!isfinite(row.most)) outcome = DrawOutcome::kNothingLeft;
  }
  uint32_t token = 0;
  if (outcome == DrawOutcome::kDrawn) {
    row.scale = fminf(1 / draw.temperature, 3e38F);
    token = draw.temperature == 0 ? most_likely(row, &scratch) : draw_one(row, draw, &scratch);
    __syncthreads();
    if (draw.logprobs >= 0) report(row, draw, token, &scratch, result);
  }
  if (threadIdx.x != 0) return;
  result->outcome = outcome;
  result->token = token;
  seats.last[draw.seat] = token;
  seats.recent[static_cast<size_t>(draw.seat) * seats.depth + draw.index % seats.depth] = token;
}

}  // namespace

void sample(const StepTables& step, const Seats& seats, Rows logits, DrawResult* results, cudaStream_t stream) {
  draw_rows<<<step.draw_count, kThreads, 0, stream>>>(step, seats, logits, results);
}

}  // namespace dynamo::kernels::cuda
