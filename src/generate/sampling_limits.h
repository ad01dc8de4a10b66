// What the numbers of SamplingParams may be: one table for who takes them from clients and for who computes with them.
// Threads: pure functions.
#pragma once

#include "base/status.h"
#include "generate/generate_request.h"

namespace dynamo {

// Brings what the API takes into what arithmetic bears: a `repetition_penalty` so close to 0 that a logit divided by it is no
// number, and a `top_p` that is 0 as a float, become the least there is, and what a model advises beyond the limits becomes the
// limit. NaN and logit biases stay as they are.
void clamp_to_limits(SamplingParams* sampling);

// Whether an engine can compute with them: what a peer sends may be anything. Errors: kInvalid with the field, its value and its
// range (NaN is in none).
Status check_limits(const SamplingParams& sampling);

}  // namespace dynamo
