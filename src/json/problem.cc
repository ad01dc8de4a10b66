#include "json/problem.h"

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo::json {

std::string_view type_name(json::kind type) {
  const string_view name = boost::json::to_string(type);
  return {name.data(), name.size()};
}

std::string shorten(std::string_view text) {
  constexpr size_t kMost = 64;
  if (text.size() <= kMost) return std::string(text);
  size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return fmt::format("{}...", text.substr(0, end));
}

std::string quote(std::string_view text) {
  return fmt::format("'{}'", shorten(text));
}

std::string number_text(const value& value) {
  if (value.is_double()) return fmt::format("{}", value.get_double());
  if (value.is_int64()) return fmt::format("{}", value.get_int64());
  return value.is_uint64() ? fmt::format("{}", value.get_uint64()) : std::string();
}

Problem wrong_type(std::string_view expected, const value& got) {
  Problem problem{.kind = Problem::Kind::kWrongType, .expected = std::string(expected)};
  problem.type = got.kind();
  problem.got = got.is_string() ? quote(std::string_view(got.get_string())) : number_text(got);
  return problem;
}

std::string describe(const Problem& problem) {
  const std::string path = quote(problem.path);
  const bool is_fraction = problem.type == kind::double_;  // where an integer was expected
  switch (problem.kind) {
    case Problem::Kind::kMissing:
      return fmt::format("{} is missing", path);
    case Problem::Kind::kWrongType:
      if (is_fraction) return fmt::format("{} is {}; expected {}", path, problem.got, problem.expected);
      return fmt::format("{} is of type {}; expected {}", path, type_name(problem.type), problem.expected);
    case Problem::Kind::kWrongValue:
      return fmt::format("{} is {}; expected {}{}", path, problem.got, problem.excludes_least ? "above " : "",
                         problem.range.empty() ? problem.expected : problem.range);
    case Problem::Kind::kUnsupported:
      return fmt::format("{}: {}", path, problem.expected);
  }
  check_failed(__FILE__, __LINE__, "a problem has a kind", "");
}

std::string to_text(const Problem& problem) {
  return "field " + describe(problem);
}

Status to_status(const Problem& problem) {
  return corrupt(to_text(problem));
}

void FirstProblem::set(Problem problem) {
  if (!problem_) problem_ = std::move(problem);
}

void FirstProblem::wrong_type(std::string path, std::string_view expected, const value& got) {
  Problem problem = json::wrong_type(expected, got);
  problem.path = std::move(path);
  set(std::move(problem));
}

void FirstProblem::wrong_value(std::string path, std::string_view expected, std::string_view got) {
  set({.kind = Problem::Kind::kWrongValue,
       .path = std::move(path),
       .expected = std::string(expected),
       .got = std::string(got)});
}

void FirstProblem::missing(std::string path) {
  set({.kind = Problem::Kind::kMissing, .path = std::move(path)});
}

void FirstProblem::unsupported(std::string path, std::string_view why) {
  set({.kind = Problem::Kind::kUnsupported, .path = std::move(path), .expected = std::string(why)});
}

}  // namespace dynamo::json
