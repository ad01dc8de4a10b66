// Why a draw found no token, in one wording for every backend.
// Threads: pure functions.
#pragma once

#include "base/status.h"

namespace dynamo::kernels {

inline Status logits_are_no_numbers() {
  return internal("the model's logits hold NaN, infinity or nothing finite");
}
inline Status no_token_is_left() {
  return invalid(
      "no token is left to draw: every one would end the answer before 'min_tokens'; lower it, or name fewer "
      "'stop_token_ids'");
}

}  // namespace dynamo::kernels
