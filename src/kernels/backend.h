// The operations a decoder is made of, on one device.
//
// One call per fused operation, so that choosing the device at run time costs nothing. Model code (model/decoder.h) is
// written once over this interface; kernels/cpu implements it for AVX2, AVX-512 and plain C++ (the definition of every
// operation, kernels/*_ref.cc). Pointers are device pointers: only copy_out() brings activations to the host.
//
// Batch invariance: the bits of an output row depend on that row's inputs alone, never on how many rows or which other
// sequences share the call, nor on how a prompt was cut into chunks. Tests rest on it, and so do reproducible answers.
//
// This interface is wider than the six methods of our other interfaces because it is the list of operations itself.
// Threads: one caller at a time; a backend may use threads of its own inside a call. Calls are asynchronous on devices
// that have a stream; copy_out() waits for all before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "kernels/dtype.h"
#include "kernels/paged_batch.h"
#include "kv/kv_layout.h"

namespace dynamo::kernels {

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

// Device memory, zeroed when made, aligned to 64 bytes. Freed before the backend.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual std::byte* data() const = 0;
  virtual size_t bytes() const = 0;
};

// Activations: [rows][columns] fp32 on the CPU (a GPU backend may keep bf16 behind the same view), rows `stride`
// elements apart.
struct View {
  float* data = nullptr;
  size_t rows = 0;
  size_t columns = 0;
  size_t stride = 0;

  float* row(size_t index) const { return data + index * stride; }
  // Columns [first, first + count) of every row.
  View slice(size_t first, size_t count) const { return {data + first, rows, count, stride}; }
};

// cos and sin of every position and pair: [positions][head_dim / 2] each. The pairing is by halves: (i, i + head_dim /
// 2). Source: Su et al. 2021; scaling factors are already in the frequencies (model/rope.h).
struct RopeTable {
  const float* cosines = nullptr;
  const float* sines = nullptr;
  size_t positions = 0;
};

// One layer's share of the KV pool: K of block b, head h, token t, dim d is at base[b * block_stride + (h *
// block_tokens + t) * head_dim + d], V at the same place plus value_offset. Counts are in elements.
struct KvView {
  std::byte* base = nullptr;
  kv::KvDtype dtype = kv::KvDtype::kF16;  // kF32 or kF16 on the CPU
  size_t block_stride = 0;
  size_t value_offset = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t block_tokens = 16;
};

struct RopeAppendArgs {
  const PagedBatch* batch = nullptr;
  View qkv;  // [rows][(heads + 2 kv_heads) * head_dim]: q, then k, then v; q is changed in place
  uint32_t heads = 0;
  const float* q_norm = nullptr;  // [head_dim] RMS norm of each head before the rotation (Qwen3), or null
  const float* k_norm = nullptr;
  float norm_epsilon = 0;
  RopeTable rope;  // must cover every position of the batch
  KvView kv;       // k (rotated) and v are written at their rows' positions
};

struct AttentionArgs {
  const PagedBatch* batch = nullptr;
  View q;              // [rows][heads * head_dim], rotated; may be a slice of qkv
  uint32_t heads = 0;  // heads % kv_heads == 0; head h reads KV head h / (heads / kv_heads)
  KvView kv;
  View out;  // [rows][heads * head_dim], not aliased with q
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;  // "cpu-avx512, 2 threads"
  // Errors: kExhausted (no memory).
  virtual Result<std::unique_ptr<Buffer>> allocate(size_t bytes) = 0;
  // Packs matrices of equal columns, stacked by rows in order (q, k, v in one), into one. The parts may differ in
  // dtype. Errors: kUnsupported (a dtype), kExhausted.
  virtual Result<std::unique_ptr<Matrix>> pack(std::span<const MatrixSource> parts) = 0;

  // out[i] = row ids[i] of `table`, as fp32. Requires: every id < table.rows().
  virtual void embed(const Matrix& table, std::span<const TokenId> ids, View out) = 0;
  // out = x / sqrt(mean(x^2) + epsilon) * weight, per row. out may be x.  Source: Zhang and Sennrich 2019.
  virtual void rms_norm(View x, const float* weight, float epsilon, View out) = 0;
  // residual += delta, then out = rms_norm(residual).
  virtual void add_rms_norm(View delta, View residual, const float* weight, float epsilon, View out) = 0;
  // out = x w^T + bias (bias [w.rows()] or null). out is not aliased with x.
  virtual void matmul(View x, const Matrix& w, const float* bias, View out) = 0;
  // Norms q and k if asked, rotates them, and stores k and v in the cache.
  virtual void rope_append(const RopeAppendArgs& args) = 0;
  // Causal attention of each row over its sequence's cache up to and with its own position: softmax(q k^T /
  // sqrt(head_dim)) v, in fp32.  Source: Vaswani et al. 2017; one pass over the blocks as in Milakov and Gimelshein
  // 2018.
  virtual void attention(const AttentionArgs& args) = 0;
  // gate_up is [rows][2 n]: out[i] = silu(gate_up[i]) * gate_up[n + i].  Source: Shazeer 2020.
  virtual void silu_mul(View gate_up, View out) = 0;
  // out[i] = x[rows[i]].
  virtual void gather_rows(View x, std::span<const uint32_t> rows, View out) = 0;
  // Waits for everything before it and copies to host memory, rows without gaps. Requires: out.size() == x.rows *
  // x.columns.
  virtual void copy_out(View x, std::span<float> out) = 0;
};

}  // namespace dynamo::kernels
