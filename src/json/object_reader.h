// Reads the members of an object one by one, for code that looks at its errors once, at the end: requests, settings.
//
// The first problem is kept, with the path of the member at fault, what was expected and what came; reading goes on
// harmlessly after it. A member that is null is as absent.  Threads: one per document.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json/problem.h"

namespace dynamo::json {

// The members of one object. The object, and the names given, must outlive it.
class ObjectReader {
 public:
  // `path` is where the object is, "messages[0]"; empty for the whole document.
  ObjectReader(const json::object& object, std::string path, FirstProblem* problem)
      : object_(object), path_(std::move(path)), problem_(problem) {}

  FirstProblem& problem() { return *problem_; }
  std::string path_of(std::string_view name) const;

  // Each knows the name from then on. They return none (or null) if it is absent, null, or wrong.
  const json::value* value(std::string_view name);
  std::optional<bool> boolean(std::string_view name);
  std::optional<int64_t> integer(std::string_view name, int64_t least, int64_t most);
  // `excludes_least`: the range is open below.
  std::optional<double> number(std::string_view name, double least, double most, bool excludes_least = false);
  std::optional<std::string_view> string(std::string_view name);
  const json::object* object(std::string_view name);
  const json::array* array(std::string_view name);
  // The same; an absent member is a problem, and the value returned then is empty or 0.
  std::string_view required_string(std::string_view name);
  int64_t required_integer(std::string_view name, int64_t least, int64_t most);
  double required_number(std::string_view name, double least, double most);

  // The member may only have the one value that asks for nothing; else it is refused with `why`.
  void only(std::string_view name, std::string_view allowed, std::string_view why);
  // The member is refused whatever its value; `why` is a sentence.
  void refuse(std::string_view name, std::string_view why);
  // Every member that was not asked for, and is not null, is a problem, `why`. Call last.
  void refuse_unknown(std::string_view why);

 private:
  template <class T, class... Limits>
  std::optional<T> read_member(std::string_view name, Limits... limits);

  const json::object& object_;
  std::string path_;
  FirstProblem* problem_;
  std::vector<std::string_view> known_;
};

// An integer element in a range, or a problem at `path`.
std::optional<int64_t> read_integer(const json::value& value, const std::string& path, int64_t least, int64_t most,
                                    FirstProblem* problem);

}  // namespace dynamo::json
