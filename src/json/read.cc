#include "json/read.h"

#include <cmath>

#include <fmt/format.h>

namespace dynamo::json {
namespace {

Problem out_of_range(std::string_view expected, std::string range, std::string got) {
  Problem problem{.kind = Problem::Kind::kWrongValue, .expected = std::string(expected)};
  problem.range = std::move(range);
  problem.got = std::move(got);
  return problem;
}

}  // namespace

std::optional<int64_t> whole_number(const value& value) {
  if (value.is_int64()) return value.get_int64();
  if (!value.is_double()) return std::nullopt;
  const double number = value.get_double();
  if (std::trunc(number) != number || std::abs(number) >= 0x1p63) return std::nullopt;
  return static_cast<int64_t>(number);
}

double number_of(const value& value) {
  if (value.is_double()) return value.get_double();
  return value.is_int64() ? static_cast<double>(value.get_int64()) : static_cast<double>(value.get_uint64());
}

std::optional<Problem> read(const value& from, int64_t least, int64_t most, int64_t* out) {
  const auto integer = whole_number(from);
  if (integer && *integer >= least && *integer <= most) {
    *out = *integer;
    return std::nullopt;
  }
  // A uint64 is beyond int64: the parser keeps to int64 what fits.
  const bool is_whole =
      integer || from.is_uint64() || (from.is_double() && std::trunc(from.get_double()) == from.get_double());
  if (!is_whole) return wrong_type("an integer", from);
  return out_of_range("an integer", fmt::format("{} to {}", least, most), number_text(from));
}

std::optional<Problem> read(const value& from, Range range, double* out) {
  if (!from.is_number()) return wrong_type("a number", from);
  const double number = number_of(from);
  if (number >= range.least && number <= range.most && !(range.excludes_least && number == range.least)) {
    *out = number;
    return std::nullopt;
  }
  Problem problem =
      out_of_range("a number", fmt::format("{} to {}", range.least, range.most), fmt::format("{}", number));
  problem.excludes_least = range.excludes_least;
  return problem;
}

std::optional<Problem> read(const value& from, bool* out) {
  const bool* flag = from.if_bool();
  if (flag == nullptr) return wrong_type("a boolean", from);
  *out = *flag;
  return std::nullopt;
}

std::optional<Problem> read(const value& from, std::string_view* out) {
  const string* text = from.if_string();
  if (text == nullptr) return wrong_type("a string", from);
  *out = {text->data(), text->size()};
  return std::nullopt;
}

std::optional<Problem> read(const value& from, const object** out) {
  *out = from.if_object();
  return *out ? std::nullopt : std::optional(wrong_type("an object", from));
}

std::optional<Problem> read(const value& from, const array** out) {
  *out = from.if_array();
  return *out ? std::nullopt : std::optional(wrong_type("an array", from));
}

}  // namespace dynamo::json
