// The list of families that are computed.
// Threads: constants and pure functions.  Private to the module.
#pragma once

#include <array>
#include <string_view>

#include "base/status.h"
#include "model/family.h"

namespace dynamo::model {

extern const Family kLlama;
extern const Family kQwen2;
extern const Family kQwen3;

inline constexpr std::array kFamilies = {&kLlama, &kQwen2, &kQwen3};

// The family whose `name` (Family::name or Family::gguf_name) that is. Errors: kUnsupported, "`what` 'mamba'; llama,
// qwen2 and qwen3 are computed".
Result<const Family*> find_family(const char* Family::* name, std::string_view value, std::string_view what);

}  // namespace dynamo::model
