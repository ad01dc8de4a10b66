#include "model/json_fields.h"

#include <fmt/format.h>
#include <boost/json/parser.hpp>

#include "model/quote_name.h"

namespace dynamo::model {
namespace {

namespace json = boost::json;

std::string_view kind_of(const json::value& value) {
  const json::string_view name = json::to_string(value.kind());
  return {name.data(), name.size()};
}

Status wrong(std::string_view key, const json::value& value, std::string_view expected) {
  return corrupt(fmt::format("field {} is of type {}; expected {}", quote_name(key), kind_of(value), expected));
}

}  // namespace

Result<json::object> parse_json_object(std::string_view text) {
  json::parser parser;
  boost::system::error_code error;
  const size_t used = parser.write(text.data(), text.size(), error);
  if (error) return corrupt(fmt::format("at byte {}: not valid JSON: {}", used, error.message()));
  json::value value = parser.release();
  if (!value.is_object()) return corrupt(fmt::format("is JSON of type {}; expected an object", kind_of(value)));
  return std::move(value.get_object());
}

Result<uint32_t> json_count(const json::value& value, std::string_view what) {
  if (value.is_int64() && value.get_int64() >= 0 && value.get_int64() <= UINT32_MAX) {
    return static_cast<uint32_t>(value.get_int64());
  }
  if (value.is_int64() || value.is_uint64()) {
    return corrupt(fmt::format("field {} is out of range; expected 0 to 2^32 - 1", quote_name(what)));
  }
  return wrong(what, value, "an integer");
}

const json::value* JsonFields::find(std::string_view key) const {
  const json::value* value = object_->if_contains({key.data(), key.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::optional<uint32_t>> JsonFields::find_count(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return std::optional<uint32_t>();
  TRY(const uint32_t count, json_count(*value, key));
  return std::optional(count);
}

Result<uint32_t> JsonFields::count(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return corrupt(fmt::format("field {} is missing", quote_name(key)));
  return json_count(*value, key);
}

Result<std::optional<double>> JsonFields::find_number(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return std::optional<double>();
  if (!value->is_number()) return wrong(key, *value, "a number");
  if (value->is_int64()) return std::optional(static_cast<double>(value->get_int64()));
  if (value->is_uint64()) return std::optional(static_cast<double>(value->get_uint64()));
  return std::optional(value->get_double());
}

Result<std::optional<bool>> JsonFields::find_bool(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_bool()) return wrong(key, *value, "a bool");
  return std::optional(value->get_bool());
}

Result<std::optional<std::string>> JsonFields::find_string(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return wrong(key, *value, "a string");
  return std::optional(std::string(value->get_string().data(), value->get_string().size()));
}

Result<const json::object*> JsonFields::find_object(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return static_cast<const json::object*>(nullptr);
  if (!value->is_object()) return wrong(key, *value, "an object");
  return &value->get_object();
}

}  // namespace dynamo::model
