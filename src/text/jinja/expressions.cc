// Expressions: names, literals, calls and lookups. What operators do is in operators.cc.
#include <fmt/format.h>

#include "text/jinja/interpreter.h"

namespace dynamo::text::jinja {

Status Interpreter::refuse_undefined(const Value& value) const {
  return value.is_undefined() ? fail(fmt::format("'{}' is undefined", value.undefined_name())) : Status();
}

Value Interpreter::name(const std::string& name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto found = scope->find(name); found != scope->end()) return found->second;
  }
  return Value::undefined(name);
}

Result<Arguments> Interpreter::evaluate_arguments(const CallArguments& arguments) {
  Arguments values;
  for (const auto& expression : arguments.positional) {
    TRY(values.positional.emplace_back(), evaluate(*expression));
  }
  for (const auto& [key, expression] : arguments.named) {
    TRY(Value value, evaluate(*expression));
    values.named.emplace_back(key, std::move(value));
  }
  return values;
}

Result<Value> Interpreter::evaluate(const Expression& expression) {
  TRY_STATUS(step());
  if (expression.line > 0) line_ = expression.line;
  using Kind = Expression::Kind;
  const auto& children = expression.children;
  switch (expression.kind) {
    case Kind::kLiteral:
      return expression.literal;
    case Kind::kName:
      return name(expression.name);
    case Kind::kList:
    case Kind::kTuple:
      return evaluate_sequence(expression);
    case Kind::kDict:
      return evaluate_dict(expression);
    case Kind::kSlice:
      return evaluate_slice(expression);
    case Kind::kNegative:
    case Kind::kPositive:
      return evaluate_sign(expression);
    case Kind::kCompare:
      return evaluate_comparisons(expression);
    case Kind::kConditional:
      return evaluate_conditional(expression);
    default:
      break;
  }
  // What is left begins with its first operand.
  TRY(const Value first, evaluate(*children[0]));
  switch (expression.kind) {
    case Kind::kAttribute:
      return attribute(first, expression.name);
    case Kind::kNot:
      return Value(!first.truth());
    case Kind::kAnd:
      return first.truth() ? evaluate(*children[1]) : first;
    case Kind::kOr:
      return first.truth() ? first : evaluate(*children[1]);
    case Kind::kSubscript: {
      TRY(const Value key, evaluate(*children[1]));
      return item(first, key);
    }
    case Kind::kBinary: {
      TRY(const Value second, evaluate(*children[1]));
      return binary(expression.operators[0], first, second);
    }
    default:
      break;
  }
  TRY(const Arguments arguments, evaluate_arguments(expression.arguments));
  if (expression.kind == Kind::kCall) return call(first, arguments);
  if (expression.kind == Kind::kFilter) return filter(expression.name, first, arguments);
  CHECK(expression.kind == Kind::kTest);
  TRY(const bool holds, test(expression.name, first, arguments));
  return Value(holds != expression.is_negated);
}

Result<Value> Interpreter::evaluate_sequence(const Expression& expression) {
  List items;
  for (const auto& child : expression.children) {
    TRY(items.emplace_back(), evaluate(*child));
  }
  TRY_STATUS(charge(kValueBytes * (items.size() + 1)));
  return Value::list(std::move(items), expression.kind == Expression::Kind::kTuple);
}

Result<Value> Interpreter::evaluate_dict(const Expression& expression) {
  Dict dict;
  for (size_t i = 0; i < expression.children.size(); i += 2) {
    TRY(Value key, evaluate(*expression.children[i]));
    TRY(Value value, evaluate(*expression.children[i + 1]));
    dict.set(std::move(key), std::move(value));
  }
  TRY_STATUS(charge(kValueBytes * (expression.children.size() + 1)));
  return Value::dict(std::move(dict));
}

Result<Value> Interpreter::evaluate_slice(const Expression& expression) {
  Value parts[4];
  for (size_t i = 0; i < 4; ++i) {
    if (!expression.children[i]) continue;
    TRY(parts[i], evaluate(*expression.children[i]));
  }
  return slice(parts[0], parts[1], parts[2], parts[3]);
}

Result<Value> Interpreter::evaluate_sign(const Expression& expression) {
  const bool is_negative = expression.kind == Expression::Kind::kNegative;
  TRY(const Value operand, evaluate(*expression.children[0]));
  TRY_STATUS(refuse_undefined(operand));
  if (!operand.is_number())
    return fail(fmt::format("bad operand type for unary {}: '{}'", is_negative ? '-' : '+', operand.type_name()));
  const int64_t sign = is_negative ? -1 : 1;
  if (operand.is_float()) return Value(static_cast<double>(sign) * operand.as_float());
  return Value(sign * operand.as_int());
}

Result<Value> Interpreter::evaluate_comparisons(const Expression& expression) {
  TRY(Value left, evaluate(*expression.children[0]));
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    TRY(Value right, evaluate(*expression.children[i + 1]));
    TRY(const bool holds, compare(expression.operators[i], left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Interpreter::evaluate_conditional(const Expression& expression) {
  TRY(const Value condition, evaluate(*expression.children[0]));
  if (condition.truth()) return evaluate(*expression.children[1]);
  if (expression.children[2]) return evaluate(*expression.children[2]);
  return Value::undefined("the inline if-expression evaluated to false and no else section was defined.");
}

Result<Value> Interpreter::call(const Value& callee, const Arguments& arguments) {
  TRY_STATUS(step());
  TRY_STATUS(refuse_undefined(callee));
  const Callable* callable = callee.callable();
  if (!callable && callee.members()) {
    if (const Value* again = callee.members()->find("__call__")) callable = again->callable();
  }
  if (!callable) return fail(fmt::format("'{}' object is not callable", callee.type_name()));
  return callable->call(this, arguments);
}

Result<List> Interpreter::iterate(const Value& value) {
  List items;
  if (value.is_undefined()) return items;  // jinja2's Undefined is an empty sequence
  if (const List* list = value.items()) {
    items = *list;
  } else if (const Dict* dict = value.members(); dict && !value.is_namespace()) {
    for (const auto& item : dict->items) items.push_back(item.first);
  } else if (const std::string* text = value.string()) {
    for (const std::string_view character : characters(*text)) items.emplace_back(std::string(character));
  } else {
    return fail(fmt::format("'{}' object is not iterable", value.type_name()));
  }
  TRY_STATUS(charge(items.size() * kValueBytes));
  return items;
}

Result<Value> Interpreter::item(const Value& object, const Value& key) {
  TRY_STATUS(refuse_undefined(object));
  if (const Dict* dict = object.members(); dict && !object.is_namespace()) {
    if (const Value* found = dict->find(key)) return *found;
    return key.string() ? attribute(object, *key.string()) : Value::undefined(key.str());
  }
  if ((object.items() || object.string()) && key.is_number() && !key.is_float()) {
    const std::vector<std::string_view> text =
        object.string() ? characters(*object.string()) : std::vector<std::string_view>();
    const auto size = static_cast<int64_t>(object.string() ? text.size() : object.items()->size());
    const int64_t at = key.as_int() < 0 ? key.as_int() + size : key.as_int();
    if (at < 0 || at >= size)
      return Value::undefined(fmt::format("{} object has no element {}", object.type_name(), key.as_int()));
    if (object.items()) return (*object.items())[static_cast<size_t>(at)];
    return Value(std::string(text[static_cast<size_t>(at)]));
  }
  if (key.string()) return attribute(object, *key.string());
  return Value::undefined(fmt::format("{} object has no element {}", object.type_name(), key.str()));
}

}  // namespace dynamo::text::jinja
