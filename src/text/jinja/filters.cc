// The table of filters, and those that take anything.
#include <fmt/format.h>

#include "text/jinja/builtins.h"

namespace dynamo::text::jinja {
namespace {

Result<Value> filter_default(Interpreter*, const Value& input, const Arguments& arguments) {
  const Value* otherwise = arguments.find(0, "default_value");
  const bool is_used = input.is_undefined() || (flag_or(arguments.find(1, "boolean"), false) && !input.truth());
  if (!is_used) return input;
  return otherwise ? *otherwise : Value("");
}

Result<Value> filter_length(Interpreter* self, const Value& input, const Arguments&) {
  const auto number = [](size_t size) { return Value(static_cast<int64_t>(size)); };
  if (input.is_undefined()) return number(0);
  if (input.string()) return number(characters(*input.string()).size());
  if (input.items()) return number(input.items()->size());
  if (input.members()) return number(input.members()->items.size());
  return self->fail(fmt::format("object of type '{}' has no len()", input.type_name()));
}

Result<Value> filter_attr(Interpreter* self, const Value& input, const Arguments& arguments) {
  const Value* name = arguments.find(0, "name");
  if (!name) return self->fail("attr takes a name");
  // Unlike a dot, `attr` never looks into a dict.
  if (input.members() && !input.is_namespace() && !methods_of(input).contains(name->str()))
    return Value::undefined(name->str());
  return self->attribute(input, name->str());
}

}  // namespace

const Builtins& filters() {
  static const Builtins kFilters = [] {
    Builtins filters = {{"default", filter_default},
                        {"d", filter_default},
                        {"length", filter_length},
                        {"count", filter_length},
                        {"attr", filter_attr}};
    add_text_filters(&filters);
    add_sequence_filters(&filters);
    return filters;
  }();
  return kFilters;
}

Result<Value> Interpreter::filter(const std::string& name, const Value& input, const Arguments& arguments) {
  TRY_STATUS(step());
  const auto found = filters().find(name);
  if (found == filters().end()) return fail(fmt::format("No filter named '{}'.", name));
  return found->second(this, input, arguments);
}

}  // namespace dynamo::text::jinja
