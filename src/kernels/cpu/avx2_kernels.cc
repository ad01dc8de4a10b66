// The kernels for AVX2 with FMA and F16C: 8 floats, 16 int16 per register.
#include <immintrin.h>

#include "kernels/cpu/cpu_kernels.h"

namespace dynamo::kernels {
namespace {

constexpr size_t kLanes = 8;
using Vec = __m256;

inline Vec load(const float* from) {
  return _mm256_loadu_ps(from);
}
inline void store(float* to, Vec v) {
  _mm256_storeu_ps(to, v);
}
inline Vec broadcast(float value) {
  return _mm256_set1_ps(value);
}
inline Vec zero() {
  return _mm256_setzero_ps();
}
inline Vec add(Vec a, Vec b) {
  return _mm256_add_ps(a, b);
}
inline Vec sub(Vec a, Vec b) {
  return _mm256_sub_ps(a, b);
}
inline Vec mul(Vec a, Vec b) {
  return _mm256_mul_ps(a, b);
}
inline Vec divide(Vec a, Vec b) {
  return _mm256_div_ps(a, b);
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return _mm256_fmadd_ps(a, b, c);
}
inline Vec maximum(Vec a, Vec b) {
  return _mm256_max_ps(a, b);
}
inline Vec minimum(Vec a, Vec b) {
  return _mm256_min_ps(a, b);
}
inline Vec absolute(Vec v) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), v);
}
inline Vec round_to_nearest(Vec v) {
  return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// 2^n for whole n in [-126, 127].
inline Vec power_of_two(Vec n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
inline float sum_of(Vec v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
inline float largest_of(Vec v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}
inline Vec load_half(const uint16_t* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline void store_half(uint16_t* to, Vec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
inline Vec load_brain(const uint16_t* from) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline float one_half(uint16_t bits) {
  return _cvtsh_ss(bits);
}
inline uint16_t to_half(float value) {
  return static_cast<uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT));
}
inline void store_i16(int16_t* to, Vec v) {
  const __m256i words = _mm256_cvtps_epi32(v);
  const __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
}

struct Codes {
  __m256i low;   // the block's codes 0..15
  __m256i high;  // 16..31
};
inline Codes load_codes(const int16_t* from) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 16))};
}
inline void store_codes(int16_t* to, Codes codes) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), codes.low);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 16), codes.high);
}
inline Codes nibble_codes(const uint8_t* from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m128i mask = _mm_set1_epi8(15);
  return {_mm256_cvtepu8_epi16(_mm_and_si128(bytes, mask)),
          _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(bytes, 4), mask))};
}
inline Codes byte_codes(const uint8_t* from) {
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))),
          _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16)))};
}
// 32 products of at most 127 * 32767 each fit 32 bits.
inline Vec dot(Codes a, Codes b) {
  return _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_madd_epi16(a.low, b.low), _mm256_madd_epi16(a.high, b.high)));
}

#include "kernels/cpu/vector_kernels.inl"

}  // namespace

const CpuKernels& avx2_kernels() {
  static const CpuKernels kernels = {quantize_row, matmul_quant, matmul_plain, rms_norm_row, add_row,
                                     silu_mul_row, rotate_head,  store_f16,    load_f16,     attend};
  return kernels;
}

}  // namespace dynamo::kernels
