// Counts what types a model's tensors have.
// Threads: one.
#pragma once

#include <algorithm>
#include <string_view>
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
  std::stable_sort(types->begin(), types->end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
}

}  // namespace dynamo::model
