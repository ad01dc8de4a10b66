// Typed reading of a JSON object whose members are known: the first thing that is wrong is kept, with its path.
// A member that is null counts as absent. Threads: one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "openai/error.h"

namespace dynamo::openai {

class ObjectReader {
 public:
  // `path` stands before the names of members: "messages[0]." or nothing. The object must outlive the reader.
  ObjectReader(const boost::json::object* object, std::string path) : object_(object), path_(std::move(path)) {}

  // Each marks the member as known and returns it if it is there and right; a wrong one is an error.
  std::optional<bool> boolean(std::string_view name);
  std::optional<double> number(std::string_view name, double least, double most);
  std::optional<int64_t> integer(std::string_view name, int64_t least, int64_t most);
  std::optional<std::string> text(std::string_view name);
  const boost::json::array* array(std::string_view name);
  const boost::json::object* object(std::string_view name);
  // Any type; null if absent or null.
  const boost::json::value* value(std::string_view name);
  // Marks members as known whose value changes nothing here.
  void ignore(std::initializer_list<std::string_view> names);

  // Puts an error on a member unless there is one already.
  void fail(std::string_view name, std::string message, std::string code = "");
  // A member that is there and known to OpenAI but not done here.
  void refuse(std::string_view name, std::string_view why);
  // Call last: any member not asked for is an error. Returns: the first error.
  std::optional<ApiError> finish();
  const std::optional<ApiError>& error() const { return error_; }
  std::string path_of(std::string_view name) const { return path_ + std::string(name); }

 private:
  void expect(std::string_view name, std::string_view what, const boost::json::value& got);

  const boost::json::object* object_;
  std::string path_;
  std::vector<std::string_view> known_;
  std::optional<ApiError> error_;
};

// "a string", "an array", ... of a value's type.
std::string_view kind_name(const boost::json::value& value);

}  // namespace dynamo::openai
