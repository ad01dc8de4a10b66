// What a template computes with: Python's values as far as Jinja shows them.
// Threads: values are shared within one rendering only.  Private to the module.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <boost/json/value.hpp>

#include "base/status.h"

namespace dynamo::text::jinja {

class Value;
struct Macro;
using List = std::vector<Value>;

// A dict keeps its order. Small in templates, so looked up from the front.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  const Value* find(const Value& key) const;
  void set(Value key, Value value);
};

struct Undefined {
  std::string name;  // for messages
};
struct None {};

// Arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
  const Value* find(size_t position, std::string_view name) const;
};

class Interpreter;
// Something that can be called: a global function, a method bound to its object, a macro, a loop's own functions.
struct Callable {
  std::string name;
  std::function<Result<Value>(Interpreter*, const Arguments&)> call;
};

class Value {
 public:
  using Data = std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const std::string>,
                            std::shared_ptr<List>, std::shared_ptr<Dict>, std::shared_ptr<const Callable>>;
  Value() : data_(None{}) {}
  Value(bool value) : data_(value) {}     // NOLINT: implicit, as literals are
  Value(int64_t value) : data_(value) {}  // NOLINT
  Value(double value) : data_(value) {}   // NOLINT
  Value(std::string value) : data_(std::make_shared<const std::string>(std::move(value))) {}  // NOLINT
  Value(const char* value) : Value(std::string(value)) {}                                     // NOLINT
  static Value undefined(std::string name);
  static Value list(List items, bool is_tuple = false);
  static Value dict(Dict items);
  static Value name_space(Dict items);  // a dict whose members `set` may assign
  static Value callable(Callable callable);
  static Value from_json(const boost::json::value& json);

  const Data& data() const { return data_; }
  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_namespace() const { return is_namespace_; }
  bool is_tuple() const { return is_tuple_; }
  const std::string* string() const;
  List* items() const;    // of a list or tuple
  Dict* members() const;  // of a dict or namespace
  const Callable* callable() const;
  const std::string& undefined_name() const { return std::get<Undefined>(data_).name; }

  bool truth() const;
  int64_t as_int() const;  // of a bool, int or float
  double as_float() const;

  // Python's str() and repr().
  std::string str() const;
  std::string repr() const;
  // What Python calls the type: "str", "int", ...
  const char* type_name() const;

 private:
  Data data_;
  bool is_tuple_ = false;
  bool is_namespace_ = false;
};

bool operator==(const Value& a, const Value& b);
// Python's <. False in `can` when the types do not compare.
bool less(const Value& a, const Value& b, bool* can);

// json.dumps as transformers sets it up. indent < 0: on one line.
std::string to_json(const Value& value, int indent, bool ensures_ascii, bool sorts_keys,
                    std::string_view item_separator, std::string_view key_separator, bool* can);

// Python's repr of a float: shortest digits that read back, "1.0", "1e+16".
std::string float_text(double value);

// Code points of UTF-8 text.
std::vector<std::string_view> characters(std::string_view text);

}  // namespace dynamo::text::jinja
