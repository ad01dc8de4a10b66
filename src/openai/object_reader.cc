#include "openai/object_reader.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>
#include <cmath>

namespace dynamo::openai {
namespace json = boost::json;

std::string_view kind_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "an array";
    case json::kind::object:
      return "an object";
  }
  return "nothing";
}

const json::value* ObjectReader::value(std::string_view name) {
  known_.push_back(name);
  const json::value* found = object_->if_contains(name);
  return found && !found->is_null() ? found : nullptr;
}

void ObjectReader::ignore(std::initializer_list<std::string_view> names) {
  known_.insert(known_.end(), names);
}

void ObjectReader::fail(std::string_view name, std::string message, std::string code) {
  if (!error_) error_ = ApiError{400, std::move(message), path_of(name), std::move(code)};
}

void ObjectReader::refuse(std::string_view name, std::string_view why) {
  if (value(name))
    fail(name, fmt::format("'{}' is not supported here: {}", path_of(name), why), "unsupported_parameter");
}

void ObjectReader::expect(std::string_view name, std::string_view what, const json::value& got) {
  fail(name, fmt::format("'{}' must be {}, not {}", path_of(name), what, kind_name(got)), "invalid_type");
}

std::optional<bool> ObjectReader::boolean(std::string_view name) {
  const json::value* found = value(name);
  if (!found) return std::nullopt;
  if (const bool* is_set = found->if_bool()) return *is_set;
  expect(name, "a boolean", *found);
  return std::nullopt;
}

std::optional<double> ObjectReader::number(std::string_view name, double least, double most) {
  const json::value* found = value(name);
  if (!found) return std::nullopt;
  if (!found->is_number()) {
    expect(name, "a number", *found);
    return std::nullopt;
  }
  const double number = found->to_number<double>();
  if (number >= least && number <= most) return number;
  fail(name, fmt::format("'{}' is {}; it must be between {} and {}", path_of(name), number, least, most),
       "invalid_value");
  return std::nullopt;
}

std::optional<int64_t> ObjectReader::integer(std::string_view name, int64_t least, int64_t most) {
  const json::value* found = value(name);
  if (!found) return std::nullopt;
  if (!found->is_number()) {
    expect(name, "an integer", *found);
    return std::nullopt;
  }
  boost::system::error_code error;
  const auto number = found->to_number<int64_t>(error);
  if (error && found->is_double() && found->get_double() == std::floor(found->get_double())) {
    fail(name, fmt::format("'{}' is {}; it must be between {} and {}", path_of(name), found->get_double(), least, most),
         "invalid_value");
  } else if (error && found->is_double()) {
    fail(name, fmt::format("'{}' is {}; it must be an integer", path_of(name), found->get_double()), "invalid_type");
  } else if (error || number < least || number > most) {
    fail(name,
         fmt::format("'{}' is {}; it must be between {} and {}", path_of(name), json::serialize(*found), least, most),
         "invalid_value");
  } else {
    return number;
  }
  return std::nullopt;
}

std::optional<std::string> ObjectReader::text(std::string_view name) {
  const json::value* found = value(name);
  if (!found) return std::nullopt;
  if (const json::string* text = found->if_string()) return std::string(text->data(), text->size());
  expect(name, "a string", *found);
  return std::nullopt;
}

const json::array* ObjectReader::array(std::string_view name) {
  const json::value* found = value(name);
  if (!found) return nullptr;
  if (const json::array* array = found->if_array()) return array;
  expect(name, "an array", *found);
  return nullptr;
}

const json::object* ObjectReader::object(std::string_view name) {
  const json::value* found = value(name);
  if (!found) return nullptr;
  if (const json::object* object = found->if_object()) return object;
  expect(name, "an object", *found);
  return nullptr;
}

std::optional<ApiError> ObjectReader::finish() {
  for (const auto& member : *object_) {
    const std::string_view name(member.key().data(), member.key().size());
    if (std::ranges::find(known_, name) == known_.end()) {
      fail(name, fmt::format("there is no parameter '{}'", path_of(name)), "unknown_parameter");
    }
  }
  return error_;
}

}  // namespace dynamo::openai
