// Weight matrices and buffers of the CPU backend.
// Threads: immutable once made.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/cpu_kernels.h"

namespace dynamo::kernels {

// Private: memory of this process, of which a page costs something once it is written. Shared: a memfd. Errors:
// kExhausted.
Result<std::unique_ptr<Buffer>> make_host_buffer(size_t bytes, Sharing sharing);

// Stacked rows of one dtype.
struct CpuMatrixPart {
  DType dtype = DType::kF32;
  size_t first_row = 0;
  size_t rows = 0;
  size_t columns = 0;
  size_t padded_blocks = 0;
  std::unique_ptr<Buffer> codes;  // or plain elements
  std::unique_ptr<Buffer> scales;
  std::unique_ptr<Buffer> minima;

  bool is_quant() const { return block_elements(dtype) > 1; }
  size_t bytes() const { return codes->bytes() + (scales ? scales->bytes() : 0) + (minima ? minima->bytes() : 0); }
  QuantMatrix quant() const;  // Requires: is_quant()
  PlainMatrix plain() const;  // Requires: !is_quant()
  // Row `row` of the part as fp32, [columns].
  void read_row(const CpuKernels& kernels, size_t row, float* out) const;
};

// Errors: kExhausted.
Result<CpuMatrixPart> pack_part(const MatrixSource& source);

class CpuMatrix final : public Matrix {
 public:
  CpuMatrix(size_t rows, size_t columns, size_t bytes, std::vector<CpuMatrixPart> parts)
      : Matrix(rows, columns, bytes), parts(std::move(parts)) {}
  const std::vector<CpuMatrixPart> parts;
};

// As Backend::pack.
Result<std::unique_ptr<Matrix>> pack_matrix(std::span<const MatrixSource> sources);

}  // namespace dynamo::kernels
