// JSON: whatever the bytes are, parsing and reading them ends in a value or a Status within the limits, and what the
// writer makes of a text or number reads back as the same.
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "json/lookup.h"
#include "json/node.h"
#include "json/object_reader.h"
#include "json/parse.h"
#include "json/read.h"
#include "json/writer.h"

namespace dynamo::json {
namespace {

void check_written(const value& value) {
  std::string written;
  if (const string* text = value.if_string()) {
    append_string(&written, {text->data(), text->size()});
    CHECK(parse(written).value() == value);
  } else if (value.is_double() && std::isfinite(value.get_double())) {
    append_float(&written, value.get_double());
    CHECK(parse(written).is_ok());
    double back = 0;  // not by the parser, which may be off by the last bit
    CHECK(std::from_chars(written.data(), written.data() + written.size(), back).ec == std::errc());
    CHECK(back == value.get_double());
  }
}

// Every reader of every value.
void read_all(const Node& node) {
  if (node.is_absent()) return;
  check_written(*node.value());
  const auto integer = node.find_integer(-8, 8);
  CHECK(!integer.is_ok() || (**integer >= -8 && **integer <= 8));
  CHECK(node.find_count().is_ok() || !node.find_count().status().text().empty());
  // Boost.JSON 1.81 makes no finite number of 0e555; that is refused like any that is out of range.
  const bool is_finite = node.value()->is_number() && std::isfinite(number_of(*node.value()));
  CHECK(node.find_number().is_ok() == is_finite);
  CHECK(node.find_bool().is_ok() == node.value()->is_bool());
  CHECK(node.find_string().is_ok() == node.value()->is_string());
  if (const auto list = node.array(); list.is_ok()) {
    for (size_t i = 0; i < (*list)->size(); ++i) read_all(node.at(**list, i));
  }
  if (const auto members = node.object(); members.is_ok()) {
    FirstProblem problem;
    ObjectReader reader(**members, node.path(), &problem);
    for (const auto& [key, value] : **members) {
      const std::string_view name(key.data(), key.size());
      reader.number(name, 0, 1);
      reader.boolean(name);
      read_all(node[name]);
    }
    reader.refuse_unknown("nobody asked");
    if (problem.has_value()) CHECK(!to_text(*problem).empty());
  }
}

}  // namespace
}  // namespace dynamo::json

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dynamo::json;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::optional<value> document;
  const auto failure = parse(text, {.max_depth = 8, .max_memory = 1 << 20}, &document);
  CHECK(failure.has_value() != document.has_value());
  if (failure) CHECK(failure->position <= size);
  if (document) read_all(Node(*document));
  return 0;
}
