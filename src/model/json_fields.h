// Typed reads of the fields of a JSON object out of an untrusted file; null counts as absent.
// Threads: values; the object outlives its JsonFields.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "base/status.h"

namespace dynamo::model {

// Errors: kCorrupt (not JSON, with the byte offset; deeper than 32; no object).
Result<boost::json::object> parse_json_object(std::string_view text);

class JsonFields {
 public:
  explicit JsonFields(const boost::json::object& object) : object_(&object) {}

  // Null if absent or null.
  const boost::json::value* find(std::string_view key) const;
  // Errors: kCorrupt names the key, what it is, and what was expected.
  Result<std::optional<int64_t>> find_integer(std::string_view key, int64_t least, int64_t most) const;
  Result<std::optional<uint32_t>> find_count(std::string_view key) const;
  Result<uint32_t> count(std::string_view key) const;  // that must be there
  Result<std::optional<double>> find_number(std::string_view key) const;
  Result<std::optional<bool>> find_bool(std::string_view key) const;
  Result<std::optional<std::string>> find_string(std::string_view key) const;
  Result<const boost::json::object*> find_object(std::string_view key) const;  // null if absent

 private:
  const boost::json::object* object_;
};

// An integer from `least` to `most`; a number that is written with a fraction or an exponent, but is one (50.0, 1e3), will
// do: writers that compute in floats store integers so. Errors: kCorrupt, about `what`.
Result<int64_t> json_integer(const boost::json::value& value, std::string_view what, int64_t least, int64_t most);
// The same, 0 to 2^32 - 1.
Result<uint32_t> json_count(const boost::json::value& value, std::string_view what);

}  // namespace dynamo::model
