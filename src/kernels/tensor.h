// Device memory, and the matrices that lie in it.
//
// A tensor names its buffer instead of an address, so that a backend can tell its own memory from another's, and so
// that devices without one address space for all can implement the same interface. It has two dimensions because all
// that a decoder computes between its layers are rows of numbers; what is scattered, the KV pool, has a description of
// its own (KvView in kernels/backend.h). Threads: values; a buffer's memory is used as kernels/backend.h says.
#pragma once

#include <cstddef>

#include "base/check.h"
#include "base/memory.h"
#include "kernels/dtype.h"

namespace dynamo::kernels {

// Device memory, zeroed when made, aligned to 64 bytes. Owned by the caller, freed before its backend.
class Buffer {
 public:
  virtual ~Buffer() = default;
  const Memory& memory() const { return memory_; }
  size_t bytes() const { return memory_.bytes; }

 protected:
  explicit Buffer(Memory memory) : memory_(memory) {}

 private:
  Memory memory_;
};

// [rows][columns] of a plain dtype: neighbours in a row are adjacent, rows are `stride` elements apart. It borrows the
// buffer. A vector is a tensor of one row; one without a buffer is "none" where an operation takes it.
struct Tensor {
  const Buffer* buffer = nullptr;
  size_t offset = 0;  // of the first element, in bytes
  DType dtype = DType::kF32;
  size_t rows = 0;
  size_t columns = 0;
  size_t stride = 0;

  explicit operator bool() const { return buffer != nullptr; }
  // An address of the device.
  std::byte* data() const { return buffer->memory().data + offset; }
  // The first `count` rows.
  Tensor first(size_t count) const {
    CHECK(count <= rows);
    Tensor part = *this;
    part.rows = count;
    return part;
  }
  // Columns [from, from + count) of every row.
  Tensor slice(size_t from, size_t count) const {
    CHECK(from + count <= columns);
    Tensor part = *this;
    part.offset += row_bytes(dtype, from);
    part.columns = count;
    return part;
  }
};

}  // namespace dynamo::kernels
