// The StepRunner that computes: a decoder, and its backend to draw tokens.
// Threads: as StepRunner.
#pragma once

#include <memory>

#include "engine/step_runner.h"
#include "model/decoder.h"

namespace dynamo::engine {

// The decoder outlives the runner, and nobody else calls it.
std::unique_ptr<StepRunner> make_model_runner(model::Decoder* decoder);

}  // namespace dynamo::engine
