// Counts what types a model's tensors have.
// Threads: one.  Private to the module.
#pragma once

#include <algorithm>
#include <string_view>
#include <tuple>
#include <vector>

#include "model/model_source.h"

namespace dynamo::model {

inline void count_tensor(std::string_view type, uint64_t bytes, std::vector<StoredType>* types) {
  auto found = std::find_if(types->begin(), types->end(), [&](const StoredType& known) { return known.name == type; });
  if (found == types->end()) found = types->insert(found, {std::string(type), 0, 0});
  ++found->tensors;
  found->bytes += bytes;
}

inline void sort_by_bytes(std::vector<StoredType>* types) {
  std::sort(types->begin(), types->end(),
            [](const auto& a, const auto& b) { return std::tie(b.bytes, a.name) < std::tie(a.bytes, b.name); });
}

}  // namespace dynamo::model
