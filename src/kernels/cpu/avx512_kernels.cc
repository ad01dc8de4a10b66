// The kernels for AVX-512 with VNNI: 16 floats, 32 int16 per register.
#include <immintrin.h>

#include "kernels/cpu/cpu_kernels.h"

namespace dynamo::kernels {
namespace {

constexpr size_t kLanes = 16;
using Vec = __m512;

inline Vec load(const float* from) {
  return _mm512_loadu_ps(from);
}
inline void store(float* to, Vec v) {
  _mm512_storeu_ps(to, v);
}
inline Vec broadcast(float value) {
  return _mm512_set1_ps(value);
}
inline Vec zero() {
  return _mm512_setzero_ps();
}
inline Vec add(Vec a, Vec b) {
  return _mm512_add_ps(a, b);
}
inline Vec sub(Vec a, Vec b) {
  return _mm512_sub_ps(a, b);
}
inline Vec mul(Vec a, Vec b) {
  return _mm512_mul_ps(a, b);
}
inline Vec divide(Vec a, Vec b) {
  return _mm512_div_ps(a, b);
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return _mm512_fmadd_ps(a, b, c);
}
inline Vec maximum(Vec a, Vec b) {
  return _mm512_max_ps(a, b);
}
inline Vec minimum(Vec a, Vec b) {
  return _mm512_min_ps(a, b);
}
inline Vec absolute(Vec v) {
  return _mm512_abs_ps(v);
}
inline Vec round_to_nearest(Vec v) {
  return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// 2^n for whole n in [-126, 127].
inline Vec power_of_two(Vec n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
inline float sum_of(Vec v) {
  return _mm512_reduce_add_ps(v);
}
inline float largest_of(Vec v) {
  return _mm512_reduce_max_ps(v);
}
inline Vec load_half(const uint16_t* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline void store_half(uint16_t* to, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
inline Vec load_brain(const uint16_t* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline float one_half(uint16_t bits) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}
inline uint16_t to_half(float value) {
  return static_cast<uint16_t>(_mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(value), _MM_FROUND_TO_NEAREST_INT), 0));
}
inline void store_i16(int16_t* to, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(v)));
}

using Codes = __m512i;
inline Codes load_codes(const int16_t* from) {
  return _mm512_loadu_si512(from);
}
inline void store_codes(int16_t* to, Codes codes) {
  _mm512_storeu_si512(to, codes);
}
inline Codes nibble_codes(const uint8_t* from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m128i mask = _mm_set1_epi8(15);
  const __m256i both = _mm256_set_m128i(_mm_and_si128(_mm_srli_epi16(bytes, 4), mask), _mm_and_si128(bytes, mask));
  return _mm512_cvtepu8_epi16(both);
}
inline Codes byte_codes(const uint8_t* from) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
// 32 products of at most 127 * 32767 each fit 32 bits.
inline Vec dot(Codes a, Codes b) {
  return _mm512_cvtepi32_ps(_mm512_dpwssd_epi32(_mm512_setzero_si512(), a, b));
}

#include "kernels/cpu/vector_kernels.inl"

}  // namespace

const CpuKernels& avx512_kernels() {
  static const CpuKernels kernels = {quantize_row, matmul_quant, matmul_plain, rms_norm_row, add_row,
                                     silu_mul_row, rotate_head,  store_f16,    load_f16,     attend};
  return kernels;
}

}  // namespace dynamo::kernels
