// What filters, tests and methods are: functions by name, equal to those of Python's jinja2, str, dict and list.
// Each file of them adds its own to a table.  Private to the module.  Threads: as Interpreter; tables are immutable.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "text/jinja/interpreter.h"

namespace dynamo::text::jinja {

// A filter or a method: what stands before the '|' or the '.', and the arguments.
using Builtin = Result<Value> (*)(Interpreter*, const Value& input, const Arguments&);
using Builtins = std::map<std::string, Builtin, std::less<>>;

const Builtins& string_methods();
const Builtins& methods_of(const Value& object);
void add_text_filters(Builtins* filters);
void add_sequence_filters(Builtins* filters);
const Builtins& filters();

// What filters and methods have in common.
Result<Value> method_items(Interpreter* self, const Value& object, const Arguments&);
Result<Value> method_replace(Interpreter* self, const Value& object, const Arguments& arguments);
// printf-style formatting of `text`.
Result<std::string> format_percent(Interpreter* self, const std::string& text, const Arguments& arguments);
std::string strip(std::string_view text, const Value* chars, bool left, bool right);
// str.split and str.rsplit; without a separator at runs of white space.
List split_text(const std::string& text, const Value* separator, int64_t most, bool from_right);

inline int64_t int_or(const Value* value, int64_t otherwise) {
  return value && value->is_number() ? value->as_int() : otherwise;
}
inline bool flag_or(const Value* value, bool otherwise) {
  return value ? value->truth() : otherwise;
}

}  // namespace dynamo::text::jinja
