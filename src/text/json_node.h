// Reading a JSON document part by part, where every complaint says which part it is about.
// Threads: values; the document must outlive its nodes.
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "base/status.h"

namespace dynamo::text {

// A value of the document with its path ("model.vocab"), so that every complaint can say where.
struct JsonNode {
  const boost::json::value* value;  // null: absent
  std::string path;

  bool is_absent() const { return value == nullptr || value->is_null(); }
  Status wrong(std::string_view wanted) const {
    if (is_absent()) return invalid(fmt::format("{}: missing, wanted {}", path, wanted));
    return invalid(fmt::format("{}: wanted {}, found {}", path, wanted, boost::json::to_string(value->kind())));
  }
  JsonNode operator[](std::string_view key) const {
    const boost::json::object* object = is_absent() ? nullptr : value->if_object();
    return {object == nullptr ? nullptr : object->if_contains(key),
            path.empty() ? std::string(key) : fmt::format("{}.{}", path, key)};
  }
  JsonNode at(const boost::json::array& array, size_t i) const { return {&array[i], fmt::format("{}[{}]", path, i)}; }
};

// Errors of all: kInvalid with the path, when the part is absent or of another type.
Result<const boost::json::object*> object_of(const JsonNode& node);
Result<const boost::json::array*> array_of(const JsonNode& node);
Result<std::string_view> string_of(const JsonNode& node);            // a view into the document
Result<bool> flag_of(const JsonNode& node, bool otherwise = false);  // absent: `otherwise`

}  // namespace dynamo::text
