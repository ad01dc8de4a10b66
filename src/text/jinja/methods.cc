// The methods of lists and dicts, as Python has them, and how attributes are looked up.
#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/builtins.h"

namespace dynamo::text::jinja {

Result<Value> method_items(Interpreter* self, const Value& object, const Arguments&) {
  List items;
  for (const auto& [key, value] : object.members()->items) items.push_back(Value::list({key, value}, true));
  TRY_STATUS(self->charge(items.size() * 144));
  return Value::list(std::move(items));
}

namespace {

Result<Value> method_keys(Interpreter* self, const Value& object, const Arguments&) {
  TRY(List keys, self->iterate(object));
  return Value::list(std::move(keys));
}
Result<Value> method_values(Interpreter* self, const Value& object, const Arguments&) {
  List values;
  for (const auto& [key, value] : object.members()->items) values.push_back(value);
  TRY_STATUS(self->charge(values.size() * 48));
  return Value::list(std::move(values));
}
Result<Value> method_get(Interpreter* self, const Value& object, const Arguments& arguments) {
  const Value* key = arguments.find(0, "key");
  if (!key) return self->fail("get expected at least 1 argument, got 0");
  const Value* found = object.members()->find(*key);
  const Value* otherwise = arguments.find(1, "default");
  return found ? *found : otherwise ? *otherwise : Value();
}
Result<Value> method_index(Interpreter* self, const Value& object, const Arguments& arguments) {
  const Value* what = arguments.find(0, "value");
  const auto found = what ? std::ranges::find(*object.items(), *what) : object.items()->end();
  if (found == object.items()->end()) return self->fail("value is not in list");
  return Value(static_cast<int64_t>(found - object.items()->begin()));
}
Result<Value> method_count(Interpreter* self, const Value& object, const Arguments& arguments) {
  const Value* what = arguments.find(0, "sub");
  if (!what) return self->fail("count takes an argument");
  return Value(static_cast<int64_t>(std::ranges::count(*object.items(), *what)));
}
Result<Value> method_mutate(Interpreter* self, const Value&, const Arguments&) {
  return self->fail("access to a method that changes its object is unsafe");
}

}  // namespace

const Builtins& methods_of(const Value& object) {
  static const Builtins kList = {{"index", method_index},   {"count", method_count},    {"append", method_mutate},
                                 {"extend", method_mutate}, {"insert", method_mutate},  {"pop", method_mutate},
                                 {"remove", method_mutate}, {"reverse", method_mutate}, {"sort", method_mutate},
                                 {"clear", method_mutate}};
  static const Builtins kDict = {{"items", method_items},    {"keys", method_keys},         {"values", method_values},
                                 {"get", method_get},        {"update", method_mutate},     {"pop", method_mutate},
                                 {"popitem", method_mutate}, {"setdefault", method_mutate}, {"clear", method_mutate}};
  static const Builtins kNone;
  if (object.string()) return string_methods();
  if (object.items()) return kList;
  return object.members() && !object.is_namespace() ? kDict : kNone;
}

Result<Value> Interpreter::attribute(const Value& object, const std::string& name) {
  TRY_STATUS(refuse_undefined(object));
  if (name.starts_with("__"))
    return Value::undefined(fmt::format("access to attribute {} of {} object is unsafe", name, object.type_name()));
  const Builtins& methods = methods_of(object);
  if (const auto found = methods.find(name); found != methods.end()) {
    return Value::callable({name, [object, method = found->second](Interpreter* self, const Arguments& arguments) {
                              return method(self, object, arguments);
                            }});
  }
  if (const Dict* dict = object.members()) {
    if (const Value* found = dict->find(name)) return *found;
  }
  return Value::undefined(fmt::format("{} object has no attribute {}", object.type_name(), name));
}

}  // namespace dynamo::text::jinja
