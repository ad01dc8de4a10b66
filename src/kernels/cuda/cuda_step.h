// A step on its way to the device and back: what the host says of it in one pinned block that one copy brings over, and
// what was drawn. The addresses stay the same from step to step as long as no step outgrows them.
// Threads: one caller.
#pragma once

#include <vector>

#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/launch.h"
#include "kernels/step.h"

namespace dynamo::kernels::cuda {

class CudaStep final : public StepView {
 public:
  CudaStep() = default;
  CudaStep(CudaStep&&) = default;
  ~CudaStep() = default;

  // Creates what it needs of the runtime. Errors: kUnavailable.
  Status open();
  void close();

  // Takes `step` and copies it to the device. Requires: the step before in here is finished.
  // Errors: kExhausted, kUnavailable.
  Status put(const Step& step, cudaStream_t stream);
  // Of the step put last.
  const StepTables& tables() const { return tables_; }
  uint32_t longest() const { return longest_; }                // tokens in the cache of its longest sequence
  uint32_t longest_single() const { return longest_single_; }  // of those whose rows are no tiles
  uint32_t penalized() const { return penalized_; }            // draws that count tokens
  DrawResult* device_results() const { return reinterpret_cast<DrawResult*>(device_results_.data()); }
  void set_sampled() { is_sampled_ = true; }

  // Has what was drawn copied back, and the end of the step marked. Errors: kUnavailable.
  Status end(cudaStream_t stream);
  // Waits for that. Errors: kUnavailable (the device failed, or has not got there within a minute).
  Result<std::vector<Result<DrawnToken>>> wait();

 private:
  void write_draws(const Step& step, std::byte* draws, uint32_t* words);

  Scratch<true> host_;
  Scratch<false> device_;
  Scratch<true> host_results_;
  Scratch<false> device_results_;
  cudaEvent_t ended_ = nullptr;
  StepTables tables_;
  uint32_t longest_ = 0;
  uint32_t longest_single_ = 0;
  uint32_t penalized_ = 0;
  bool is_sampled_ = false;
  std::vector<bool> has_logprobs_;
};

}  // namespace dynamo::kernels::cuda
