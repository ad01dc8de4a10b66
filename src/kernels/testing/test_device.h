// A backend as tests use it: tensors from host numbers and back, random weights with the numbers they stand for.
// Threads: as kernels::Backend.
#pragma once

#include <bit>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "base/check.h"
#include "kernels/backend.h"
#include "kernels/cpu/half.h"

namespace dynamo::kernels::testing {

inline std::vector<float> random_floats(size_t count, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Owns a backend and the buffers of its tensors.
class TestDevice {
 public:
  explicit TestDevice(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

  Backend* operator->() { return backend_.get(); }
  const Traits& traits() const { return backend_->traits(); }

  // Zeroes, of the activations' dtype, or of `dtype`.
  Tensor zeroes(size_t rows, size_t columns) { return zeroes(rows, columns, traits().activations); }
  Tensor zeroes(size_t rows, size_t columns, DType dtype) {
    auto buffer = backend_->allocate(rows * row_bytes(dtype, columns));
    CHECK_OK(buffer);
    buffers_.push_back(std::move(buffer).value());
    return {.buffer = buffers_.back().get(),
            .offset = 0,
            .dtype = dtype,
            .rows = rows,
            .columns = columns,
            .stride = columns};
  }
  Tensor tensor(std::span<const float> values, size_t rows) { return filled(values, rows, traits().activations); }
  // Norms, biases and tables are fp32 on every device.
  Tensor vector(std::span<const float> values, size_t rows = 1) { return filled(values, rows, DType::kF32); }
  void write(std::span<const float> values, Tensor to) {
    const MatrixSource from{.dtype = DType::kF32,
                            .rows = to.rows,
                            .columns = to.columns,
                            .data = reinterpret_cast<const std::byte*>(values.data())};
    CHECK(values.size() == to.rows * to.columns && backend_->upload(from, to).is_ok());
  }
  std::vector<float> read(Tensor x) {
    std::vector<float> values(x.rows * x.columns);
    CHECK(backend_->read(x, values).is_ok());
    return values;
  }
  std::unique_ptr<Matrix> pack(std::span<const MatrixSource> parts) {
    auto packed = backend_->pack(parts);
    CHECK_OK(packed);
    return std::move(packed).value();
  }
  // Begins and finishes a step.
  std::vector<Result<DrawnToken>> run(const Step& step, const Backend::Ops& ops) {
    CHECK(backend_->begin(step, ops).is_ok());
    auto drawn = backend_->finish();
    CHECK_OK(drawn);
    return std::move(drawn).value();
  }

 private:
  Tensor filled(std::span<const float> values, size_t rows, DType dtype) {
    const Tensor made = zeroes(rows, values.size() / rows, dtype);
    write(values, made);
    return made;
  }

  std::unique_ptr<Backend> backend_;
  std::vector<std::unique_ptr<Buffer>> buffers_;  // freed first
};

// A random matrix in a file's format, and the numbers it stands for.
struct TestMatrix {
  TestMatrix(DType dtype, size_t rows, size_t columns, uint32_t seed);
  MatrixSource source() const { return {dtype, rows, columns, bytes.data()}; }

  DType dtype;
  size_t rows;
  size_t columns;
  std::vector<std::byte> bytes;
  std::vector<double> exact;
};

inline TestMatrix::TestMatrix(DType dtype, size_t rows, size_t columns, uint32_t seed)
    : dtype(dtype), rows(rows), columns(columns) {
  std::mt19937 random(seed);
  bytes.resize(rows * row_bytes(dtype, columns));
  exact.resize(rows * columns);
  const auto small_half = [&] {
    return float_to_half(static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 20000.0F);
  };
  const auto put_half = [&](size_t at, uint16_t bits) { std::memcpy(bytes.data() + at, &bits, 2); };
  const size_t per_block = block_elements(dtype);
  for (size_t block = 0; block < exact.size() / per_block; ++block) {
    const size_t at = block * block_bytes(dtype);
    double* out = exact.data() + block * per_block;
    const uint16_t d = small_half();
    const uint16_t m = small_half();
    const double scale = half_to_float(d);
    switch (dtype) {
      case DType::kF32: {
        const float value = half_to_float(d) * 3.1F;
        std::memcpy(bytes.data() + at, &value, 4);
        out[0] = value;
        break;
      }
      case DType::kF16:
        put_half(at, d);
        out[0] = scale;
        break;
      case DType::kBF16:
        put_half(at, static_cast<uint16_t>(std::bit_cast<uint32_t>(half_to_float(d)) >> 16));
        out[0] = bf16_to_float(static_cast<uint16_t>(std::bit_cast<uint32_t>(half_to_float(d)) >> 16));
        break;
      default:
        put_half(at, d);
        if (dtype == DType::kQ4_1) put_half(at + 2, m);
        const size_t head = dtype == DType::kQ4_1 ? 4 : 2;
        for (size_t i = 0; i < 32; ++i) {
          if (dtype == DType::kQ8_0) {
            const auto code = static_cast<int8_t>(random() % 255 - 127);
            bytes[at + head + i] = static_cast<std::byte>(code);
            out[i] = scale * code;
          } else {
            const auto code = static_cast<uint8_t>(random() % 16);
            bytes[at + head + i % 16] |= static_cast<std::byte>(i < 16 ? code : code << 4);
            out[i] = dtype == DType::kQ4_0 ? scale * (code - 8) : scale * code + half_to_float(m);
          }
        }
    }
  }
}

}  // namespace dynamo::kernels::testing
