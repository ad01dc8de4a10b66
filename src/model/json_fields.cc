#include "model/json_fields.h"

#include <cmath>

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

Result<int64_t> json_integer(const json::value& value, std::string_view what, int64_t least, int64_t most) {
  if (!value.is_number()) return wrong(what, value, "an integer");
  const auto out_of_range = [&](const auto& number) {
    return corrupt(fmt::format("field {} is {}; expected {} to {}", quote_name(what), number, least, most));
  };
  if (value.is_uint64()) return out_of_range(value.get_uint64());  // the parser keeps to int64 what fits
  if (value.is_double()) {
    const double number = value.get_double();
    if (std::trunc(number) != number) {
      return corrupt(fmt::format("field {} is {}; expected an integer", quote_name(what), number));
    }
    if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) || std::abs(number) >= 0x1p63) {
      return out_of_range(number);
    }
    return static_cast<int64_t>(number);
  }
  const int64_t number = value.get_int64();
  if (number < least || number > most) return out_of_range(number);
  return number;
}

Result<uint32_t> json_count(const json::value& value, std::string_view what) {
  TRY(const int64_t count, json_integer(value, what, 0, UINT32_MAX));
  return static_cast<uint32_t>(count);
}

const json::value* JsonFields::find(std::string_view key) const {
  const json::value* value = object_->if_contains({key.data(), key.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::optional<int64_t>> JsonFields::find_integer(std::string_view key, int64_t least, int64_t most) const {
  const json::value* value = find(key);
  if (value == nullptr) return std::optional<int64_t>();
  TRY(const int64_t integer, json_integer(*value, key, least, most));
  return std::optional(integer);
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
