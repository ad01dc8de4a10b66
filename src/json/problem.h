// What is wrong with a part of a document, in pieces, so that each caller says it in the words of its own clients.
// Threads: values and pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "json/types.h"

namespace dynamo::json {

struct Problem {
  enum class Kind : uint8_t { kMissing, kWrongType, kWrongValue, kUnsupported };
  Kind kind = Kind::kMissing;
  std::string path = {};        // "messages[0].role"
  std::string expected = {};    // "an integer"; of kUnsupported: why, a sentence
  std::string range = {};       // of a number, "1 to 8"; else empty
  bool excludes_least = false;  // the range is open below
  std::string got = {};         // the value, short; empty if missing
  json::kind type = kind::null;
};

// "int64", "string", ...: Boost.JSON's names.
std::string_view type_name(json::kind type);
// Text of another's, cut to at most 64 bytes between characters; quoted too.
std::string shorten(std::string_view text);
std::string quote(std::string_view text);

// A number for people; what is none is told by its type alone. "-2", "50.5", "1e+300".
std::string number_text(const value& value);

// Without a path.
Problem wrong_type(std::string_view expected, const value& got);

// A problem in this project's words: "'top_k' is -2; expected -1 to 4294967295", "'x' is missing".
std::string describe(const Problem& problem);
// The same with "field " before it.
std::string to_text(const Problem& problem);
// That as kCorrupt: what was stored or sent is not what it claims to be.
Status to_status(const Problem& problem);

// The first problem of a document; those that follow from it do not count.
class FirstProblem {
 public:
  bool has_value() const { return problem_.has_value(); }
  const Problem& operator*() const { return *problem_; }

  // Each keeps the problem if it is the first.
  void set(Problem problem);
  void wrong_type(std::string path, std::string_view expected, const value& got);
  void wrong_value(std::string path, std::string_view expected, std::string_view got);
  void missing(std::string path);
  // `why` is a sentence.
  void unsupported(std::string path, std::string_view why);

 private:
  std::optional<Problem> problem_;
};

}  // namespace dynamo::json
