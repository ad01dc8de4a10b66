// Floats as the bytes of a stored weight, for writers of test files.
// Plain round-to-nearest quantisers: what they lose does not matter, only that the bytes are valid.
// Threads: pure functions.
#pragma once

#include <span>
#include <string>

#include "kernels/dtype.h"

namespace dynamo::model::testing {

// Requires: for block formats, values.size() is a multiple of 32.
std::string tensor_bytes(std::span<const float> values, kernels::DType dtype);

}  // namespace dynamo::model::testing
