// Reads a request's JSON: the body with limits, then its members one by one, each with its type and range checked.
//
// The first thing that is wrong is kept, with the path of the member at fault, what was expected and what came; reading
// goes on harmlessly after it, so that a caller looks at the error once, at its end. A member that is null is as absent.
// Threads: one per request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include "openai/error.h"

namespace dynamo::openai {

// Parses a whole body; a byte order mark before it is skipped. Of a name given twice in an object the last counts.
// Returns: what is wrong (no JSON, with the position; nested too deep; no UTF-8; not an object; too large in memory), or
// none and the object in `out`.
std::optional<ApiError> parse_body(std::string_view body, uint32_t max_depth, std::optional<boost::json::value>* out);

// "a string", "an integer", ...: what a value is, in words.
std::string_view describe_type(const boost::json::value& value);
// Text of the client's for an error message: cut if long; quoted too.
std::string shorten(std::string_view text);
std::string quote(std::string_view text);

// The first error of a request.
class RequestError {
 public:
  bool has_value() const { return error_.has_value(); }
  std::optional<ApiError> take() { return std::move(error_); }

  // Each keeps the error if it is the first.
  void set(ApiError error);
  void wrong_type(const std::string& path, std::string_view expected, const boost::json::value& got);
  // "Invalid value for 'n': expected an integer from 1 to 128, but got 0."
  void wrong_value(const std::string& path, std::string_view expected, std::string_view got);
  void missing(const std::string& path);
  // `why` is a sentence.
  void unsupported(const std::string& path, std::string_view why);

 private:
  std::optional<ApiError> error_;
};

// The members of one object. The object, and the names given, must outlive it.
class ObjectReader {
 public:
  // `path` is where the object is, "messages[0]"; empty for the body.
  ObjectReader(const boost::json::object& object, std::string path, RequestError* error)
      : object_(object), path_(std::move(path)), error_(error) {}

  RequestError& error() { return *error_; }
  std::string path_of(std::string_view name) const;

  // Each knows the name from then on. They return none (or null) if it is absent, null, or wrong.
  const boost::json::value* value(std::string_view name);
  std::optional<bool> boolean(std::string_view name);
  std::optional<int64_t> integer(std::string_view name, int64_t min, int64_t max);
  // `excludes_min`: the range is open below.
  std::optional<double> number(std::string_view name, double min, double max, bool excludes_min = false);
  std::optional<std::string_view> string(std::string_view name);
  const boost::json::object* object(std::string_view name);
  const boost::json::array* array(std::string_view name);
  // The same; an absent member is an error.
  std::optional<std::string_view> required_string(std::string_view name);

  // The parameter may only have the one value that asks for nothing; else it is refused with `why`.
  void only(std::string_view name, std::string_view allowed, std::string_view why);
  // The parameter is refused whatever its value; `why` is a sentence.
  void refuse(std::string_view name, std::string_view why);
  // Every member that was not asked for, and is not null, is an error. Call last.
  void refuse_unknown();

 private:
  const boost::json::object& object_;
  std::string path_;
  RequestError* error_;
  std::vector<std::string_view> known_;
};

// An integer of 64 bits with a sign, however it is written: 8, 8.0 and 8e0 are the same number in JSON, and clients that
// compute in floats send the latter. Nothing if it is none.
std::optional<int64_t> whole_number(const boost::json::value& value);

// An integer element in a range, or an error at `path`.
std::optional<int64_t> read_integer(const boost::json::value& value, const std::string& path, int64_t min, int64_t max,
                                    RequestError* error);

}  // namespace dynamo::openai
