#include "kernels/cpu/cpu_matrix.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/shared_memory.h"
#include "kernels/cpu/half.h"

namespace dynamo::kernels {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kSlack = 64;  // bytes behind private memory that a vector load may touch

class PrivateBuffer final : public Buffer {
 public:
  PrivateBuffer(void* memory, size_t bytes)
      : Buffer({.data = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(memory) + kAlignment - 1) /
                                                     kAlignment * kAlignment),
                .bytes = bytes}),
        memory_(memory) {}
  ~PrivateBuffer() override { std::free(memory_); }  // NOLINT: calloc's

 private:
  void* memory_;
};

class SharedBuffer final : public Buffer {
 public:
  explicit SharedBuffer(SharedMemory memory) : Buffer(memory.memory()), memory_(std::move(memory)) {}

 private:
  SharedMemory memory_;
};

uint16_t half_at(const std::byte* from) {
  uint16_t bits = 0;
  std::memcpy(&bits, from, sizeof(bits));
  return bits;
}

// Takes the blocks apart: codes, scales and minima each in an array of their own.
Result<CpuMatrixPart> pack_quant(const MatrixSource& source) {
  const size_t blocks = source.columns / kQuantBlock;
  const bool has_nibbles = source.dtype != DType::kQ8_0;
  const size_t code_bytes = has_nibbles ? kQuantBlock / 2 : kQuantBlock;
  const size_t head_bytes = source.dtype == DType::kQ4_1 ? 4 : 2;
  CpuMatrixPart part;
  part.padded_blocks = (blocks + kScalePadding - 1) / kScalePadding * kScalePadding;
  TRY(part.codes, make_host_buffer(source.rows * blocks * code_bytes, Sharing::kPrivate));
  TRY(part.scales, make_host_buffer(source.rows * part.padded_blocks * sizeof(uint16_t), Sharing::kPrivate));
  if (has_nibbles) {
    TRY(part.minima, make_host_buffer(source.rows * part.padded_blocks * sizeof(uint16_t), Sharing::kPrivate));
  }
  std::byte* const codes = part.codes->memory().data;
  auto* scales = reinterpret_cast<uint16_t*>(part.scales->memory().data);
  auto* minima = has_nibbles ? reinterpret_cast<uint16_t*>(part.minima->memory().data) : nullptr;
  const std::byte* from = source.data;
  for (size_t row = 0; row < source.rows; ++row) {
    for (size_t block = 0; block < blocks; ++block, from += block_bytes(source.dtype)) {
      const size_t index = row * part.padded_blocks + block;
      scales[index] = half_at(from);
      if (source.dtype == DType::kQ4_1) minima[index] = half_at(from + 2);
      if (source.dtype == DType::kQ4_0) minima[index] = float_to_half(-8.0F * half_to_float(scales[index]));
      std::memcpy(codes + (row * blocks + block) * code_bytes, from + head_bytes, code_bytes);
    }
  }
  return part;
}

Result<CpuMatrixPart> pack_plain(const MatrixSource& source) {
  CpuMatrixPart part;
  const size_t bytes = source.rows * row_bytes(source.dtype, source.columns);
  TRY(part.codes, make_host_buffer(bytes, Sharing::kPrivate));
  std::memcpy(part.codes->memory().data, source.data, bytes);
  return part;
}

}  // namespace

Result<std::unique_ptr<Buffer>> make_host_buffer(size_t bytes, Sharing sharing) {
  if (sharing == Sharing::kShared) {
    TRY(SharedMemory memory, SharedMemory::create(bytes));
    return std::unique_ptr<Buffer>(std::make_unique<SharedBuffer>(std::move(memory)));
  }
  // calloc gives untouched pages for large sizes.
  void* memory = std::calloc(bytes + kAlignment + kSlack, 1);
  if (!memory) return exhausted(fmt::format("no memory for {} bytes", bytes));
  return std::unique_ptr<Buffer>(std::make_unique<PrivateBuffer>(memory, bytes));
}

QuantMatrix CpuMatrixPart::quant() const {
  return {.codes = reinterpret_cast<const uint8_t*>(codes->memory().data),
          .scales = reinterpret_cast<const uint16_t*>(scales->memory().data),
          .minima = minima ? reinterpret_cast<const uint16_t*>(minima->memory().data) : nullptr,
          .columns = columns,
          .padded_blocks = padded_blocks};
}

PlainMatrix CpuMatrixPart::plain() const {
  return {.dtype = dtype, .data = codes->memory().data, .columns = columns};
}

void CpuMatrixPart::read_row(const CpuKernels& kernels, size_t row, float* out) const {
  if (dtype == DType::kF32) {
    std::memcpy(out, codes->memory().data + row * columns * sizeof(float), columns * sizeof(float));
    return;
  }
  const auto* bits = reinterpret_cast<const uint16_t*>(codes->memory().data) + row * columns;
  if (dtype == DType::kF16) return kernels.load_f16(bits, columns, out);
  if (dtype == DType::kBF16) {
    for (size_t i = 0; i < columns; ++i) out[i] = bf16_to_float(bits[i]);
    return;
  }
  const QuantMatrix w = quant();
  const uint8_t* of_row = w.codes + row * (w.minima ? columns / 2 : columns);
  for (size_t i = 0; i < columns; ++i) {
    const size_t block = i / kQuantBlock;
    const float scale = half_to_float(w.scales[row * w.padded_blocks + block]);
    if (!w.minima) {
      out[i] = scale * static_cast<float>(static_cast<int8_t>(of_row[i]));
      continue;
    }
    const uint8_t byte = of_row[block * 16 + i % 16];
    const int nibble = i % kQuantBlock < 16 ? byte & 15 : byte >> 4;
    out[i] = scale * static_cast<float>(nibble) + half_to_float(w.minima[row * w.padded_blocks + block]);
  }
}

Result<CpuMatrixPart> pack_part(const MatrixSource& source) {
  CHECK(source.columns % block_elements(source.dtype) == 0);
  TRY(CpuMatrixPart part, block_elements(source.dtype) > 1 ? pack_quant(source) : pack_plain(source));
  part.dtype = source.dtype;
  part.rows = source.rows;
  part.columns = source.columns;
  return part;
}

Result<std::unique_ptr<Matrix>> pack_matrix(std::span<const MatrixSource> sources) {
  CHECK(!sources.empty());
  const size_t columns = sources.front().columns;
  size_t rows = 0;
  size_t bytes = 0;
  std::vector<CpuMatrixPart> parts;
  for (const MatrixSource& source : sources) {
    CHECK(source.columns == columns);
    TRY(CpuMatrixPart part, pack_part(source));
    part.first_row = rows;
    rows += source.rows;
    bytes += part.bytes();
    parts.push_back(std::move(part));
  }
  return std::unique_ptr<Matrix>(std::make_unique<CpuMatrix>(rows, columns, bytes, std::move(parts)));
}

}  // namespace dynamo::kernels
