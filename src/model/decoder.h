// The forward pass of every family's layer plan (model/family.h), written once over kernels::Backend.
//
// Owns the packed weights, the KV pool and the activations' memory; allocates nothing after create().
// Source: Touvron et al. 2023; Qwen2 and Qwen3 technical reports; the numbers are checked against Hugging Face's
// implementation (docs/accuracy.md).  Threads: one, the engine's; KV memory may be read and written by others between
// steps.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "kernels/backend.h"
#include "kernels/paged_batch.h"
#include "kv/kv_layout.h"
#include "model/model_source.h"

namespace dynamo::model {

struct DecoderOptions {
  uint32_t block_tokens = 16;
  uint32_t kv_blocks = 0;         // size of the KV pool; > 0
  uint32_t max_rows = 512;        // rows a step may have
  uint32_t max_logits_rows = 64;  // rows of a step whose logits may be asked for; more than max_rows is max_rows
  uint32_t context_length = 0;    // 0: the model's; never more than the pool holds
  kv::KvDtype kv_dtype = kv::KvDtype::kF16;  // kF32 or kF16
  std::span<std::byte> kv_memory =
      {};  // the KV pool's, zeroed, aligned to 64 bytes; outlives the decoder. Empty: allocated
};

// What one step computes.
struct StepBatch {
  kernels::PagedBatch paged;
  std::vector<TokenId> tokens;        // one per row
  std::vector<uint32_t> logits_rows;  // rows whose logits are wanted, ascending
};

class Decoder {
 public:
  // Reads and packs every weight; `progress` is told the fraction done, in [0, 1], if set. The source may be closed
  // afterwards. Errors: those of ModelSource::weight and Backend::pack and allocate.
  static Result<std::unique_ptr<Decoder>> create(const ModelSource& source, kernels::Backend* backend,
                                                 DecoderOptions options, const std::function<void(double)>& progress);
  ~Decoder();

  // Computes the step and writes the logits of `logits_rows` to `logits`, [logits_rows][vocab_size] fp32.
  // `after_layer` is called after each layer but the last, if set.
  // Requires: the batch's rows, positions, blocks and logits rows are within the options; tokens < vocab_size.
  void forward(const StepBatch& batch, std::span<float> logits, const std::function<void()>& after_layer = nullptr);

  const ModelConfig& config() const;
  const kv::KvLayout& kv_layout() const;
  std::span<std::byte> kv_pool() const;  // [kv_blocks] blocks of kv_layout().block_bytes()
  size_t weight_bytes() const;

 private:
  struct State;
  explicit Decoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dynamo::model
