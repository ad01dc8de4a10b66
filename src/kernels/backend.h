// The operations a decoder is made of, on one device.
//
// One call per fused operation, so that choosing the device at run time costs nothing. Model code (model/decoder.h) is
// written once over this interface; kernels/cpu implements it, with plain C++ as the definition of every operation
// (cpu/scalar_kernels.cc). All operands are device memory (kernels/tensor.h); what the host gives a step is brought
// there once, by begin().
//
// A step is a function of operations. begin() puts the step's tables on the device and calls the function, or replays
// what an earlier step of the same shape called: so the function depends on the StepView's shape alone, and the
// addresses that operations see stay the same from step to step. finish() gives what was drawn, step by step in the
// order of begin(); up to traits().depth steps may be begun and not finished. Operations run in the order they are
// called in, of one step before those of the next.
//
// Batch invariance, if traits() say so: the bits of an output row depend on that row's inputs alone, never on how many
// rows or which other sequences share the call, nor on how a prompt was cut into chunks. Reproducible answers rest on
// it.
//
// kernels/backend_contract_test.cc holds every backend to this. The interface is wider than the six methods of our
// other interfaces because it is the list of operations itself.
// Threads: one caller at a time; a backend may use threads of its own inside a call. The memory of a buffer made with
// Sharing::kShared may be read and written by others, where no step under way uses it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/memory.h"
#include "base/status.h"
#include "kernels/dtype.h"
#include "kernels/step.h"
#include "kernels/tensor.h"
#include "kv/kv_layout.h"

namespace dynamo::kernels {

// What a backend is, and what suits it.
struct Traits {
  std::string name;                    // "cpu-avx512, 2 threads"
  DType activations = DType::kF32;     // of the tensors that operations read and write
  kv::KvDtype kv = kv::KvDtype::kF16;  // of the KV cache
  MemoryKind memory = MemoryKind::kHost;
  int device = 0;                   // of `memory`
  uint32_t depth = 1;               // steps that may be under way; > 0
  bool is_batch_invariant = false;  // see above
  uint32_t max_batch_tokens = 512;  // rows per step that use it well
  uint32_t max_sequences = 64;      // sequences at once that use it well
};

// A weight matrix as a file holds it: [rows][columns] of `dtype`, rows one after the other without gaps.
struct MatrixSource {
  DType dtype = DType::kF32;
  size_t rows = 0;                  // outputs
  size_t columns = 0;               // inputs; a multiple of block_elements(dtype)
  const std::byte* data = nullptr;  // rows * row_bytes(dtype, columns) bytes, any alignment, read during the call only
};

// A weight matrix in the layout that its backend likes. Owned by the caller, freed before the backend.
class Matrix {
 public:
  virtual ~Matrix() = default;
  size_t rows() const { return rows_; }
  size_t columns() const { return columns_; }
  size_t bytes() const { return bytes_; }  // of device memory

 protected:
  Matrix(size_t rows, size_t columns, size_t bytes) : rows_(rows), columns_(columns), bytes_(bytes) {}

 private:
  size_t rows_;
  size_t columns_;
  size_t bytes_;
};

enum class Sharing : uint8_t {
  kPrivate,  // the backend's alone
  kShared,   // others read and write it too: other processes, network cards
};

// cos and sin of every position and pair: [positions][head_dim / 2] fp32 each. The pairing is by halves: (i, i +
// head_dim / 2). Source: Su et al. 2021; scaling factors are already in the frequencies (model/rope.h).
struct RopeTable {
  Tensor cosines;
  Tensor sines;
};

// One layer's share of the KV pool: K of block b, head h, token t, dim d is at `offset` + element b * block_stride +
// (h * block_tokens + t) * head_dim + d, V at the same place plus value_offset. Counts are in elements.
struct KvView {
  const Buffer* buffer = nullptr;
  size_t offset = 0;                      // bytes from the buffer's start
  kv::KvDtype dtype = kv::KvDtype::kF16;  // the backend's
  size_t block_stride = 0;
  size_t value_offset = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t block_tokens = 16;
};

struct RopeAppendArgs {
  Tensor qkv;  // [rows][(heads + 2 kv_heads) * head_dim]: q, then k, then v; q is changed in place
  uint32_t heads = 0;
  Tensor q_norm;  // [head_dim] RMS norm of each head before the rotation (Qwen3), or none
  Tensor k_norm;
  float norm_epsilon = 0;
  RopeTable rope;  // must cover every position of the step
  KvView kv;       // k (rotated) and v are written at their rows' positions
};

struct AttentionArgs {
  Tensor q;            // [rows][heads * head_dim], rotated; may be a slice of qkv
  uint32_t heads = 0;  // heads % kv_heads == 0; head h reads KV head h / (heads / kv_heads)
  KvView kv;
  Tensor out;  // [rows][heads * head_dim], not aliased with q
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const Traits& traits() const = 0;

  // Device memory that is left for buffers; none: the host's, of which a buffer takes what is written.
  virtual std::optional<uint64_t> free_bytes() const = 0;
  // Errors: kExhausted (no memory).
  virtual Result<std::unique_ptr<Buffer>> allocate(size_t bytes, Sharing sharing = Sharing::kPrivate) = 0;
  // Packs matrices of equal columns, stacked by rows in order (q, k, v in one), into one. The parts may differ in
  // dtype. Errors: kUnsupported (a dtype), kExhausted, kUnavailable (the device failed).
  virtual Result<std::unique_ptr<Matrix>> pack(std::span<const MatrixSource> parts) = 0;
  // Writes the rows of `from` into `to`, which has as many rows and columns and a plain dtype. Errors: as pack().
  virtual Status upload(const MatrixSource& from, Tensor to) = 0;
  // Waits for everything before it and copies to host memory as fp32, rows without gaps. For tests and tools.
  // Requires: out.size() == x.rows * x.columns.
  virtual Status read(Tensor x, std::span<float> out) = 0;

  using Ops = std::function<void(const StepView&)>;
  // Begins a step, see above; on an error it is not begun. Requires: fewer than traits().depth steps are under way; the
  // step's blocks, rows and tokens are within what the operations are given.
  // Errors: kUnavailable (the device failed).
  virtual Status begin(const Step& step, const Ops& ops) = 0;
  // Waits for the oldest step begun, which is finished then.
  // Returns: a result per draw of it, or none if its operations did not sample. An error there is of that sequence
  // alone: kInvalid (what it asks for leaves no token to draw), kInternal (its logits are no numbers, so its KV may
  // not be either); its seat then holds any token of the vocabulary. Requires: a step is under way.
  // Errors: kUnavailable (the device failed): nothing is known of the step.
  virtual Result<std::vector<Result<DrawnToken>>> finish() = 0;

  // Operations; those that take a StepView are called within begin() only, for its step. Tensors have as many rows as
  // the step, or as its draws.

  // out[i] = the row of `table` for the step's token i. Requires: every token < table.rows().
  virtual void embed(const Matrix& table, const StepView& step, Tensor out) = 0;
  // out = x / sqrt(mean(x^2) + epsilon) * weight, per row. out may be x.  Source: Zhang and Sennrich 2019.
  virtual void rms_norm(Tensor x, Tensor weight, float epsilon, Tensor out) = 0;
  // residual += delta, then out = rms_norm(residual).
  virtual void add_rms_norm(Tensor delta, Tensor residual, Tensor weight, float epsilon, Tensor out) = 0;
  // out = x w^T + bias (bias [w.rows()] or none). out is not aliased with x.
  virtual void matmul(Tensor x, const Matrix& w, Tensor bias, Tensor out) = 0;
  // Norms q and k if asked, rotates them, and stores k and v in the cache.
  virtual void rope_append(const StepView& step, const RopeAppendArgs& args) = 0;
  // Causal attention of each row over its sequence's cache up to and with its own position: softmax(q k^T /
  // sqrt(head_dim)) v, in fp32.  Source: Vaswani et al. 2017; one pass over the blocks as in Milakov and Gimelshein
  // 2018.
  virtual void attention(const StepView& step, const AttentionArgs& args) = 0;
  // gate_up is [rows][2 n]: out[i] = silu(gate_up[i]) * gate_up[n + i].  Source: Shazeer 2020.
  virtual void silu_mul(Tensor gate_up, Tensor out) = 0;
  // out[i] = the row of x that the step's draw i is of.
  virtual void gather_drawn(const StepView& step, Tensor x, Tensor out) = 0;
  // Draws the step's tokens from `logits` [draws][vocabulary], fp32, which are changed. In this order: repetition, presence
  // and frequency penalties, logit bias, masked and allowed tokens, temperature, top-k, top-p, min-p, draw. A draw is
  // a pure function of its logits and its Draw (kernels/philox.h). Requires: the settings are within
  // generate/sampling_limits.h.
  virtual void sample(const StepView& step, Tensor logits) = 0;
};

}  // namespace dynamo::kernels
