#include "model/gguf_types.h"

#include <iterator>

namespace dynamo::model {
namespace {

using kernels::DType;

constexpr GgufTensorType of(const char* name, DType dtype) {
  return {name, static_cast<uint32_t>(kernels::block_elements(dtype)),
          static_cast<uint32_t>(kernels::block_bytes(dtype)), dtype};
}
constexpr GgufTensorType other(const char* name, uint32_t elements, uint32_t bytes) {
  return {name, elements, bytes, std::nullopt};
}
constexpr GgufTensorType dropped(const char* name) {
  return {name, 0, 0, std::nullopt};
}

// The index is the number.
constexpr GgufTensorType kTypes[] = {
    of("F32", DType::kF32),    of("F16", DType::kF16),   of("Q4_0", DType::kQ4_0),  of("Q4_1", DType::kQ4_1),
    dropped("Q4_2"),           dropped("Q4_3"),          other("Q5_0", 32, 22),     other("Q5_1", 32, 24),
    of("Q8_0", DType::kQ8_0),  other("Q8_1", 32, 36),    other("Q2_K", 256, 84),    other("Q3_K", 256, 110),
    other("Q4_K", 256, 144),   other("Q5_K", 256, 176),  other("Q6_K", 256, 210),   other("Q8_K", 256, 292),
    other("IQ2_XXS", 256, 66), other("IQ2_XS", 256, 74), other("IQ3_XXS", 256, 98), other("IQ1_S", 256, 50),
    other("IQ4_NL", 32, 18),   other("IQ3_S", 256, 110), other("IQ2_S", 256, 82),   other("IQ4_XS", 256, 136),
    other("I8", 1, 1),         other("I16", 1, 2),       other("I32", 1, 4),        other("I64", 1, 8),
    other("F64", 1, 8),        other("IQ1_M", 256, 56),  of("BF16", DType::kBF16),  dropped("Q4_0_4_4"),
    dropped("Q4_0_4_8"),       dropped("Q4_0_8_8"),      other("TQ1_0", 256, 54),   other("TQ2_0", 256, 66),
    dropped("IQ4_NL_4_4"),     dropped("IQ4_NL_4_8"),    dropped("IQ4_NL_8_8"),     other("MXFP4", 32, 17),
    other("NVFP4", 64, 36),    other("Q1_0", 128, 18),
};

}  // namespace

const GgufTensorType* gguf_tensor_type(uint32_t number) {
  return number < std::size(kTypes) ? &kTypes[number] : nullptr;
}

}  // namespace dynamo::model
