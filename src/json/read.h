// One value of a document, its type and range checked: what Node and ObjectReader share.
//
// Each gives the value to `out`, or returns what is wrong, without its path.  Threads: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "json/problem.h"

namespace dynamo::json {

// An integer of 64 bits with a sign, however it is written: 8, 8.0 and 8e0 are the same number in JSON, and writers that
// compute in floats send the latter. Beyond 2^53 it is exact where it is written as an integer. Nothing if it is none.
std::optional<int64_t> whole_number(const value& value);
// As a double, rounded if need be. Requires: it is a number.
double number_of(const value& value);

std::optional<Problem> read(const value& from, int64_t least, int64_t most, int64_t* out);
struct Range {
  double least;
  double most;
  bool excludes_least = false;
};
std::optional<Problem> read(const value& from, Range range, double* out);
std::optional<Problem> read(const value& from, bool* out);
std::optional<Problem> read(const value& from, std::string_view* out);  // a view into the document
std::optional<Problem> read(const value& from, const object** out);
std::optional<Problem> read(const value& from, const array** out);

}  // namespace dynamo::json
