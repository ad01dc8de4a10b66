// Which tokens one step computes and where their keys and values lie.
//
// The rows of a step are the new tokens of all its sequences, one sequence after the other. Decoding sequences have one
// row, prefilling ones a chunk. The same description serves every layer and every backend. Threads: values.
#pragma once

#include <cstdint>
#include <vector>

namespace dynamo::kernels {

struct PagedBatch {
  // A sequence's rows are [first_row, first_row + rows); they stand at positions [length - rows, length) of the
  // sequence, whose KV lies in the blocks block_table[first_block ...], block_tokens positions each.
  struct Sequence {
    uint32_t first_row = 0;
    uint32_t rows = 0;         // >= 1
    uint32_t length = 0;       // tokens in cache once this step is done, >= rows
    uint32_t first_block = 0;  // index into block_table; ceil(length / block_tokens) entries belong to the sequence
    uint32_t seat = 0;         // the sequence's on the device (kernels/step.h)
  };

  uint32_t block_tokens = 16;
  std::vector<Sequence> sequences;
  std::vector<uint32_t> block_table;  // block ids in the KV pool
  std::vector<uint32_t> positions;    // one per row

  uint32_t rows() const { return static_cast<uint32_t>(positions.size()); }
};

}  // namespace dynamo::kernels
