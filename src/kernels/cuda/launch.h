// The kernels of the CUDA backend as its host code calls them: plain values and device addresses, one function per
// launch. Everything is asynchronous on the given stream; what a launch itself finds wrong is kept by the runtime and
// asked for once a step (cudaGetLastError). Threads: one caller.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace dynamo::kernels::cuda {

// A matrix of a plain dtype on the device.
struct Rows {
  void* data = nullptr;
  DType dtype = DType::kBF16;
  uint32_t rows = 0;
  uint32_t columns = 0;
  size_t stride = 0;  // elements
};

inline constexpr uint32_t kMostLogprobs = 32;

// A sequence's part in a step; as PagedBatch::Sequence.
struct SequenceEntry {
  uint32_t first_row;
  uint32_t rows;
  uint32_t length;
  uint32_t first_block;
  uint32_t seat;
};

// Rows of one sequence that are attended to together: up to kTilePositions from row `first` of the sequence on.
struct TileEntry {
  uint32_t sequence;
  uint32_t first;
};
inline constexpr uint32_t kTilePositions = 64;

// A run of 32-bit words within StepTables::words.
struct Run {
  uint32_t at;
  uint32_t count;
};

// A draw (kernels/step.h). What lies elsewhere on the host is copied into StepTables::words.
struct DrawEntry {
  uint64_t seed;
  uint32_t row;
  uint32_t seat;
  uint32_t index;  // of the answer; its tokens from output.count on are in the seat
  float temperature;
  float top_p;
  float min_p;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  uint32_t top_k;   // 0: all
  Run prompt;       // empty unless a penalty counts them
  Run output;       // likewise
  Run bias_tokens;  // the biases, floats, follow them
  Run masked;
  Run allowed;       // bits; empty: every token
  int32_t logprobs;  // alternatives; -1: none, and no log probability
  uint32_t counts;   // which of StepTables::counts is this draw's, if it has penalties
};

// What a step's kernels read. Addresses of the device.
struct StepTables {
  const uint32_t* tokens = nullptr;       // [rows]; kDrawnLast is looked up in the seat
  const uint32_t* positions = nullptr;    // [rows]
  const uint32_t* sequence_of = nullptr;  // [rows]
  const SequenceEntry* sequences = nullptr;
  const uint32_t* blocks = nullptr;
  const TileEntry* tiles = nullptr;       // of sequences with many rows, in order
  const uint32_t* single_rows = nullptr;  // the rows of the others
  const DrawEntry* draws = nullptr;
  const uint32_t* words = nullptr;
  uint32_t* counts = nullptr;  // [draws with penalties][vocabulary], zero between steps
  uint32_t rows = 0;
  uint32_t tile_count = 0;
  uint32_t single_count = 0;
  uint32_t draw_count = 0;
};

// What was drawn last, by seat; as DrawnTokens (kernels/cpu/cpu_step.h).
struct Seats {
  uint32_t* last = nullptr;    // [kMaxSeats]
  uint32_t* recent = nullptr;  // [kMaxSeats][depth]
  uint32_t depth = 1;
};

enum class DrawOutcome : uint32_t { kDrawn, kNotFinite, kNothingLeft };

struct DrawResult {
  DrawOutcome outcome;
  uint32_t token;
  float logprob;
  uint32_t top_count;
  uint32_t top_tokens[kMostLogprobs];
  float top_logprobs[kMostLogprobs];
};

// One layer's K and V; counts in elements, as KvView.
struct KvRows {
  void* base = nullptr;
  bool is_bf16 = true;  // else f16
  size_t block_stride = 0;
  size_t value_offset = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t block_tokens = 16;
};

// Whether the device that is chosen can run them: it has code for it.
bool kernels_fit();

// Writes rows of a file's format, adjacent, as `to`'s dtype.
void convert_rows(const void* from, DType dtype, Rows to, cudaStream_t stream);

// Operations: kernels/backend.h says what each computes.
void embed(Rows table, const StepTables& step, const Seats& seats, Rows out, cudaStream_t stream);
void gather(const StepTables& step, Rows x, Rows out, cudaStream_t stream);
void rms_norm(Rows x, const float* weight, float epsilon, Rows out, cudaStream_t stream);
void add_rms_norm(Rows delta, Rows residual, const float* weight, float epsilon, Rows out, cudaStream_t stream);
void silu_mul(Rows gate_up, Rows out, cudaStream_t stream);
void add_bias(Rows out, const float* bias, cudaStream_t stream);

struct RopeAppend {
  Rows qkv;
  uint32_t heads = 0;
  const float* q_norm = nullptr;  // null: none
  const float* k_norm = nullptr;
  float norm_epsilon = 0;
  const float* cosines = nullptr;
  const float* sines = nullptr;
  size_t table_stride = 0;
  KvRows kv;
};
void rope_append(const StepTables& step, const RopeAppend& args, cudaStream_t stream);

// Heads of more dimensions than this are refused.
inline constexpr uint32_t kMostHeadDim = 256;

struct Attention {
  Rows q;
  uint32_t heads = 0;
  KvRows kv;
  Rows out;
};
// Row by row: those that `rows` names, or all from the first on if it is null; `splits` thread blocks for each. `partial` has room for [count * heads *
// splits][head_dim + 2] numbers, if splits > 1.
struct RowList {
  const uint32_t* rows = nullptr;
  uint32_t count = 0;
  uint32_t splits = 1;
  float* partial = nullptr;
};
void attend_rows(const StepTables& step, const Attention& args, const RowList& list, cudaStream_t stream);
// The rows of the step's tiles, with matrix instructions. Requires: can_attend_tiles().
bool can_attend_tiles(const Attention& args);
void attend_tiles(const StepTables& step, const Attention& args, cudaStream_t stream);

// out = x w^T + bias for few rows: each weight is read once. Requires: can_be_skinny().
bool can_be_skinny(const Rows& x, const Rows& w);
void skinny_matmul(Rows x, Rows w, const float* bias, Rows out, cudaStream_t stream);

void sample(const StepTables& step, const Seats& seats, Rows logits, DrawResult* results, cudaStream_t stream);

}  // namespace dynamo::kernels::cuda
