// The forward pass of every family's layer plan (model/family.h), written once over kernels::Backend.
//
// Owns the weights, the KV pool and the activations' memory; allocates nothing after create().
// Source: Touvron et al. 2023; Qwen2 and Qwen3 technical reports; the numbers are checked against Hugging Face's
// implementation (docs/accuracy.md).  Threads: one, the engine's; the KV pool may be read and written by others where
// no step under way uses it.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "kernels/backend.h"
#include "kv/kv_layout.h"
#include "model/decoder_weights.h"

namespace dynamo::model {

struct DecoderOptions {
  uint32_t block_tokens = 16;
  uint32_t kv_blocks = 0;                                    // size of the KV pool; > 0
  uint32_t max_rows = 512;                                   // rows a step may have
  uint32_t max_draws = 64;                                   // draws a step may have; more than max_rows is max_rows
  uint32_t context_length = 0;                               // 0: the model's; never more than the pool holds
  kernels::Sharing kv_sharing = kernels::Sharing::kPrivate;  // of the KV pool
};

// How the KV cache of a model lies on a backend's device.
kv::KvLayout kv_layout_of(const ModelConfig& config, const kernels::Traits& traits, uint32_t block_tokens);

class Decoder {
 public:
  // The backend outlives the decoder. Errors: those of Backend::allocate and upload.
  static Result<std::unique_ptr<Decoder>> create(DecoderWeights weights, kernels::Backend* backend,
                                                 DecoderOptions options);
  ~Decoder();

  // CHECKs that a step is within the options: rows, positions, blocks, tokens, draws and seats.
  void check(const kernels::Step& step) const;
  // The operations of a step, for Backend::begin: computes the KV of its rows, and the logits of those that it draws
  // from.
  void forward(const kernels::StepView& step);
  // Where forward() leaves the logits, [draws][vocab_size]: until the next step begins.
  kernels::Tensor logits(uint32_t draws) const;

  kernels::Backend* backend() const;
  const ModelConfig& config() const;
  const kv::KvLayout& kv_layout() const;
  const kernels::Buffer& kv_pool() const;  // [kv_blocks] blocks of kv_layout().block_bytes()
  size_t weight_bytes() const;             // of device memory, rope tables with them

 private:
  struct State;
  explicit Decoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dynamo::model
