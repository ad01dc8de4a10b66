#include "model/testing/tensor_bytes.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/check.h"

namespace dynamo::model::testing {
namespace {

using kernels::DType;

void put_u16(std::string* out, uint16_t value) {
  out->push_back(static_cast<char>(value & 0xFF));
  out->push_back(static_cast<char>(value >> 8));
}

uint16_t to_f16(float value) {
  return std::bit_cast<uint16_t>(static_cast<_Float16>(value));
}

// Requires: value is no NaN.
uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

void put_plain(std::string* out, float value, DType dtype) {
  if (dtype == DType::kF32) {
    char bytes[sizeof(float)];
    std::memcpy(bytes, &value, sizeof(float));
    out->append(bytes, sizeof(float));
  } else {
    put_u16(out, dtype == DType::kF16 ? to_f16(value) : to_bf16(value));
  }
}

float stored(float scale) {
  return static_cast<float>(static_cast<_Float16>(scale));
}

void put_q8_0(std::string* out, std::span<const float, 32> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  const float scale = stored(largest / 127);
  put_u16(out, to_f16(scale));
  for (const float value : values) {
    const float steps = scale == 0 ? 0 : std::clamp(std::nearbyint(value / scale), -127.0F, 127.0F);
    out->push_back(static_cast<char>(static_cast<int8_t>(steps)));
  }
}

// Both 4-bit formats: w = scale * n + low, n in [0, 15].
void put_nibbles(std::string* out, std::span<const float, 32> values, float scale, float low) {
  const auto nibble = [&](size_t index) {
    if (scale == 0) return 0;
    return static_cast<int>(std::clamp(std::nearbyint((values[index] - low) / scale), 0.0F, 15.0F));
  };
  for (size_t i = 0; i < 16; ++i) out->push_back(static_cast<char>(nibble(i) | nibble(i + 16) << 4));
}

void put_q4(std::string* out, std::span<const float, 32> values, DType dtype) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (dtype == DType::kQ4_0) {
    const float scale = stored(std::max(std::abs(*low), std::abs(*high)) / 8);
    put_u16(out, to_f16(scale));
    put_nibbles(out, values, scale, -8 * scale);
  } else {
    const float scale = stored((*high - *low) / 15);
    put_u16(out, to_f16(scale));
    put_u16(out, to_f16(*low));
    put_nibbles(out, values, scale, stored(*low));
  }
}

}  // namespace

std::string tensor_bytes(std::span<const float> values, DType dtype) {
  std::string out;
  const size_t block = kernels::block_elements(dtype);
  CHECK(values.size() % block == 0);
  out.reserve(values.size() / block * kernels::block_bytes(dtype));
  for (size_t i = 0; i < values.size(); i += block) {
    if (block == 1) {
      put_plain(&out, values[i], dtype);
    } else if (dtype == DType::kQ8_0) {
      put_q8_0(&out, values.subspan(i).first<32>());
    } else {
      put_q4(&out, values.subspan(i).first<32>(), dtype);
    }
  }
  return out;
}

}  // namespace dynamo::model::testing
