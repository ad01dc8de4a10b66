#include "text/jinja/interpreter.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>
#include <cmath>

namespace dynamo::text::jinja {
namespace {

constexpr uint64_t kValueBytes = 48;  // what a small value costs, roughly

}  // namespace

bool Interpreter::fail(std::string text) {
  if (failure_.is_ok()) failure_ = invalid(fmt::format("line {}: {}", line_, text));
  return false;
}

bool Interpreter::fail_limit(std::string text) {
  if (failure_.is_ok()) failure_ = exhausted(fmt::format("line {}: {}", line_, text));
  return false;
}

bool Interpreter::step() {
  if (++steps_ <= limits_.steps) return true;
  return fail_limit(fmt::format("the template took more than {} steps", limits_.steps));
}

bool Interpreter::charge(uint64_t bytes) {
  memory_ += bytes;
  if (memory_ <= limits_.memory_bytes) return true;
  return fail_limit(fmt::format("the template made values of more than {} bytes", limits_.memory_bytes));
}

bool Interpreter::write(std::string_view text) {
  if (output_.size() + text.size() > limits_.output_bytes)
    return fail_limit(fmt::format("the prompt grew beyond {} bytes", limits_.output_bytes));
  output_ += text;
  return true;
}

bool Interpreter::refuse_undefined(const Value& value) {
  return value.is_undefined() ? fail(fmt::format("'{}' is undefined", value.undefined_name())) : true;
}

Result<std::string> Interpreter::render(const Body& body, const boost::json::object& variables) {
  scopes_.emplace_back();
  for (auto& [key, value] : global_functions()) scopes_.back()[key] = std::move(value);
  for (const auto& [key, value] : variables)
    scopes_.back()[std::string(key.data(), key.size())] = Value::from_json(value);
  scopes_.emplace_back();
  run(body);
  if (!failure_.is_ok()) return failure_;
  return std::move(output_);
}

Interpreter::Flow Interpreter::run(const Body& body) {
  for (const auto& statement : body) {
    const Flow flow = run(*statement);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const Statement& statement) {
  if (!step()) return Flow::kFailed;
  line_ = statement.line;
  const auto next = [](bool is_ok) { return is_ok ? Flow::kNext : Flow::kFailed; };
  switch (statement.kind) {
    case Statement::Kind::kText:
      return next(write(statement.text));
    case Statement::Kind::kOutput: {
      Value value;
      return next(evaluate(*statement.expression, &value) && write(value.str()));
    }
    case Statement::Kind::kIf: {
      Value condition;
      if (!evaluate(*statement.expression, &condition)) return Flow::kFailed;
      return run(condition.truth() ? statement.body : statement.otherwise);
    }
    case Statement::Kind::kFor:
      return run_for(statement);
    case Statement::Kind::kSet:
    case Statement::Kind::kSetBlock:
      return next(run_set(statement));
    case Statement::Kind::kMacro:
      scopes_.back()[statement.name] = macro_of(statement, statement.name);
      return Flow::kNext;
    case Statement::Kind::kCall:
      return run_call(statement);
    case Statement::Kind::kFilter: {
      std::string text;
      Value out;
      return next(capture(statement.body, &text) && apply_filters(*statement.expression, std::move(text), &out) &&
                  write(out.str()));
    }
    case Statement::Kind::kWith: {
      Scope scope;
      for (const auto& [key, expression] : statement.parameters) {
        if (!evaluate(*expression, &scope[key])) return Flow::kFailed;
      }
      scopes_.push_back(std::move(scope));
      const Flow flow = run(statement.body);
      scopes_.pop_back();
      return flow;
    }
    case Statement::Kind::kScope: {
      scopes_.emplace_back();
      const Flow flow = run(statement.body);
      scopes_.pop_back();
      return flow;
    }
    case Statement::Kind::kBreak:
      return Flow::kBreak;
    case Statement::Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kFailed;
}

bool Interpreter::capture(const Body& body, std::string* out) {
  std::string before = std::exchange(output_, {});
  scopes_.emplace_back();
  const Flow flow = run(body);
  scopes_.pop_back();
  *out = std::exchange(output_, std::move(before));
  return flow != Flow::kFailed && charge(out->size());
}

// A chain of filters whose innermost input is given.
bool Interpreter::apply_filters(const Expression& expression, Value input, Value* out) {
  if (expression.kind != Expression::Kind::kFilter) {
    *out = std::move(input);
    return true;
  }
  Value inner;
  Arguments arguments;
  return apply_filters(*expression.children[0], std::move(input), &inner) &&
         evaluate_arguments(expression.arguments, &arguments) && filter(expression.name, inner, arguments, out);
}

bool Interpreter::run_set(const Statement& statement) {
  Value value;
  if (statement.kind == Statement::Kind::kSet) {
    return evaluate(*statement.expression, &value) && assign(statement.target, std::move(value));
  }
  std::string text;
  if (!capture(statement.body, &text)) return false;
  if (statement.expression && !apply_filters(*statement.expression, std::move(text), &value)) return false;
  return assign(statement.target, statement.expression ? std::move(value) : Value(std::move(text)));
}

bool Interpreter::assign(const Target& target, Value value) {
  if (!target.parts.empty()) {
    std::vector<Value> items;
    if (!iterate(value, &items)) return false;
    if (items.size() != target.parts.size()) {
      return fail(fmt::format("{} values to unpack into {} names", items.size(), target.parts.size()));
    }
    for (size_t i = 0; i < items.size(); ++i) {
      if (!assign(target.parts[i], std::move(items[i]))) return false;
    }
    return true;
  }
  if (target.attribute.empty()) {
    scopes_.back()[target.name] = std::move(value);
    return true;
  }
  Value object;
  if (!name(target.name, &object)) return false;
  if (!object.is_namespace()) return fail("cannot assign attribute on non-namespace object");
  object.members()->set(target.attribute, std::move(value));
  return charge(kValueBytes);
}

// --- loops ---

struct Interpreter::Loop {
  std::vector<Value> items;
  size_t index = 0;
  Value changed;
  bool has_changed = false;
};

Interpreter::Flow Interpreter::run_for(const Statement& statement) {
  Value iterable;
  if (!evaluate(*statement.expression, &iterable)) return Flow::kFailed;
  return run_loop(statement, iterable, 1);
}

namespace {

// The variable `loop`, as it stands at one item.
Dict loop_members(size_t index, size_t count, uint32_t depth, const std::vector<Value>& items) {
  Dict members;
  const auto number = [](size_t value) { return Value(static_cast<int64_t>(value)); };
  members.items.reserve(14);
  members.items.emplace_back("index", number(index + 1));
  members.items.emplace_back("index0", number(index));
  members.items.emplace_back("first", Value(index == 0));
  members.items.emplace_back("last", Value(index + 1 == count));
  members.items.emplace_back("length", number(count));
  members.items.emplace_back("revindex", number(count - index));
  members.items.emplace_back("revindex0", number(count - index - 1));
  members.items.emplace_back("depth", number(depth));
  members.items.emplace_back("depth0", number(depth - 1));
  if (index > 0) members.items.emplace_back("previtem", items[index - 1]);
  if (index + 1 < count) members.items.emplace_back("nextitem", items[index + 1]);
  return members;
}

}  // namespace

Interpreter::Flow Interpreter::run_loop(const Statement& statement, const Value& iterable, uint32_t depth) {
  auto loop = std::make_shared<Loop>();
  if (!iterate(iterable, &loop->items)) return Flow::kFailed;
  if (statement.condition) {
    std::vector<Value> kept;
    for (Value& item : loop->items) {
      scopes_.emplace_back();
      Value condition;
      const bool is_ok = assign(statement.target, item) && evaluate(*statement.condition, &condition);
      scopes_.pop_back();
      if (!is_ok) return Flow::kFailed;
      if (condition.truth()) kept.push_back(std::move(item));
    }
    loop->items = std::move(kept);
  }
  if (loop->items.empty()) {
    scopes_.emplace_back();
    const Flow flow = run(statement.otherwise);
    scopes_.pop_back();
    return flow;
  }
  Value cycle = Value::callable({"cycle", [loop](Interpreter* self, const Arguments& arguments, Value* out) {
                                   if (arguments.positional.empty()) return self->fail("no items for cycling given");
                                   *out = arguments.positional[loop->index % arguments.positional.size()];
                                   return true;
                                 }});
  Value changed = Value::callable({"changed", [loop](Interpreter*, const Arguments& arguments, Value* out) {
                                     Value now = Value::list(arguments.positional, true);
                                     const bool is_new = !loop->has_changed || !(now == loop->changed);
                                     loop->has_changed = true;
                                     loop->changed = std::move(now);
                                     *out = is_new;
                                     return true;
                                   }});
  Value again =
      Value::callable({"loop", [this, &statement, depth](Interpreter* self, const Arguments& arguments, Value* out) {
                         if (arguments.positional.size() != 1) return self->fail("loop() takes one argument");
                         if (depth_ >= limits_.depth) return fail_limit("recursion is too deep");
                         ++depth_;
                         std::string before = std::exchange(output_, {});
                         const Flow flow = run_loop(statement, arguments.positional[0], depth + 1);
                         *out = Value(std::exchange(output_, std::move(before)));
                         --depth_;
                         return flow != Flow::kFailed;
                       }});
  const size_t count = loop->items.size();
  for (loop->index = 0; loop->index < count; ++loop->index) {
    if (!step()) return Flow::kFailed;
    Scope scope;
    Dict members = loop_members(loop->index, count, depth, loop->items);
    members.items.emplace_back("cycle", cycle);
    members.items.emplace_back("changed", changed);
    if (statement.is_recursive) members.items.emplace_back("__call__", again);
    scope["loop"] = Value::dict(std::move(members));
    scopes_.push_back(std::move(scope));
    Flow flow = assign(statement.target, loop->items[loop->index]) ? run(statement.body) : Flow::kFailed;
    scopes_.pop_back();
    if (flow == Flow::kFailed) return flow;
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

// --- macros ---

Value Interpreter::macro_of(const Statement& statement, std::string name) {
  // A macro sees the variables of the place where it stands, as they are when it is called at that level or below.
  const size_t level = scopes_.size();
  return Value::callable(
      {std::move(name), [this, &statement, level](Interpreter* self, const Arguments& arguments, Value* out) {
         const std::vector<Scope> closure(
             scopes_.begin(), scopes_.begin() + static_cast<std::ptrdiff_t>(std::min(level, scopes_.size())));
         return self->call_macro(statement, closure, arguments, out);
       }});
}

bool Interpreter::call_macro(const Statement& statement, const std::vector<Scope>& closure, const Arguments& arguments,
                             Value* out) {
  if (depth_ >= limits_.depth) return fail_limit(fmt::format("macros nested deeper than {} calls", limits_.depth));
  Scope scope;
  for (size_t i = 0; i < statement.parameters.size(); ++i) {
    const auto& [key, otherwise] = statement.parameters[i];
    if (const Value* given = arguments.find(i, key)) {
      scope[key] = *given;
    } else if (otherwise) {
      if (!evaluate(*otherwise, &scope[key])) return false;
    } else {
      scope[key] = Value::undefined(key);
    }
  }
  Dict extra;
  for (const auto& [key, value] : arguments.named) {
    const bool is_parameter =
        std::ranges::any_of(statement.parameters, [&](const auto& parameter) { return parameter.first == key; });
    if (!is_parameter && key == "caller") scope["caller"] = value;
    if (!is_parameter && key != "caller") extra.items.emplace_back(key, value);
  }
  List rest;
  for (size_t i = statement.parameters.size(); i < arguments.positional.size(); ++i)
    rest.push_back(arguments.positional[i]);
  scope["varargs"] = Value::list(std::move(rest), true);
  scope["kwargs"] = Value::dict(std::move(extra));
  std::vector<Scope> outside = std::exchange(scopes_, closure);
  scopes_.push_back(std::move(scope));
  std::string before = std::exchange(output_, {});
  ++depth_;
  const Flow flow = run(statement.body);
  --depth_;
  scopes_ = std::move(outside);
  *out = Value(std::exchange(output_, std::move(before)));
  return flow != Flow::kFailed && charge(out->string()->size() + kValueBytes);
}

Interpreter::Flow Interpreter::run_call(const Statement& statement) {
  Value callee;
  Arguments arguments;
  if (!evaluate(*statement.expression->children[0], &callee) ||
      !evaluate_arguments(statement.expression->arguments, &arguments))
    return Flow::kFailed;
  arguments.named.emplace_back("caller", macro_of(statement, "caller"));
  Value out;
  return call(callee, arguments, &out) && write(out.str()) ? Flow::kNext : Flow::kFailed;
}

bool Interpreter::call(const Value& callee, const Arguments& arguments, Value* out) {
  if (!step() || !refuse_undefined(callee)) return false;
  const Callable* callable = callee.callable();
  if (!callable && callee.members()) {
    if (const Value* again = callee.members()->find("__call__")) callable = again->callable();
  }
  if (!callable) return fail(fmt::format("'{}' object is not callable", callee.type_name()));
  return callable->call(this, arguments, out);
}

// --- expressions ---

bool Interpreter::name(const std::string& name, Value* out) {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto found = scope->find(name);
    if (found == scope->end()) continue;
    *out = found->second;
    return true;
  }
  *out = Value::undefined(name);
  return true;
}

bool Interpreter::evaluate_arguments(const CallArguments& arguments, Arguments* out) {
  for (const auto& expression : arguments.positional) {
    if (!evaluate(*expression, &out->positional.emplace_back())) return false;
  }
  for (const auto& [key, expression] : arguments.named) {
    Value value;
    if (!evaluate(*expression, &value)) return false;
    out->named.emplace_back(key, std::move(value));
  }
  return true;
}

bool Interpreter::evaluate(const Expression& expression, Value* out) {
  if (!step()) return false;
  if (expression.line > 0) line_ = expression.line;
  using Kind = Expression::Kind;
  const auto& children = expression.children;
  switch (expression.kind) {
    case Kind::kLiteral:
      *out = expression.literal;
      return true;
    case Kind::kName:
      return name(expression.name, out);
    case Kind::kList:
    case Kind::kTuple: {
      List items(children.size());
      for (size_t i = 0; i < children.size(); ++i) {
        if (!evaluate(*children[i], &items[i])) return false;
      }
      *out = Value::list(std::move(items), expression.kind == Kind::kTuple);
      return charge(kValueBytes * (children.size() + 1));
    }
    case Kind::kDict: {
      Dict dict;
      for (size_t i = 0; i < children.size(); i += 2) {
        Value key;
        Value value;
        if (!evaluate(*children[i], &key) || !evaluate(*children[i + 1], &value)) return false;
        dict.set(std::move(key), std::move(value));
      }
      *out = Value::dict(std::move(dict));
      return charge(kValueBytes * (children.size() + 1));
    }
    case Kind::kAttribute: {
      Value object;
      return evaluate(*children[0], &object) && attribute(object, expression.name, out);
    }
    case Kind::kSubscript: {
      Value object;
      Value key;
      return evaluate(*children[0], &object) && evaluate(*children[1], &key) && item(object, key, out);
    }
    case Kind::kSlice: {
      Value parts[4];
      for (size_t i = 0; i < 4; ++i) {
        if (children[i] && !evaluate(*children[i], &parts[i])) return false;
      }
      return slice(parts[0], parts[1], parts[2], parts[3], out);
    }
    case Kind::kCall: {
      Value callee;
      Arguments arguments;
      return evaluate(*children[0], &callee) && evaluate_arguments(expression.arguments, &arguments) &&
             call(callee, arguments, out);
    }
    case Kind::kFilter: {
      Value input;
      Arguments arguments;
      return evaluate(*children[0], &input) && evaluate_arguments(expression.arguments, &arguments) &&
             filter(expression.name, input, arguments, out);
    }
    case Kind::kTest: {
      Value input;
      Arguments arguments;
      bool result = false;
      if (!evaluate(*children[0], &input) || !evaluate_arguments(expression.arguments, &arguments) ||
          !test(expression.name, input, arguments, &result)) {
        return false;
      }
      *out = result != expression.is_negated;
      return true;
    }
    case Kind::kNot: {
      Value operand;
      if (!evaluate(*children[0], &operand)) return false;
      *out = !operand.truth();
      return true;
    }
    case Kind::kNegative:
    case Kind::kPositive: {
      Value operand;
      if (!evaluate(*children[0], &operand) || !refuse_undefined(operand)) return false;
      if (!operand.is_number())
        return fail(fmt::format("bad operand type for unary {}: '{}'", expression.kind == Kind::kNegative ? '-' : '+',
                                operand.type_name()));
      const int64_t sign = expression.kind == Kind::kNegative ? -1 : 1;
      *out =
          operand.is_float() ? Value(static_cast<double>(sign) * operand.as_float()) : Value(sign * operand.as_int());
      return true;
    }
    case Kind::kBinary: {
      Value left;
      Value right;
      return evaluate(*children[0], &left) && evaluate(*children[1], &right) && binary(expression, left, right, out);
    }
    case Kind::kAnd:
    case Kind::kOr:
      if (!evaluate(*children[0], out)) return false;
      return out->truth() == (expression.kind == Kind::kOr) ? true : evaluate(*children[1], out);
    case Kind::kCompare: {
      Value left;
      if (!evaluate(*children[0], &left)) return false;
      for (size_t i = 0; i < expression.operators.size(); ++i) {
        Value right;
        bool result = false;
        if (!evaluate(*children[i + 1], &right) || !compare(expression.operators[i], left, right, &result))
          return false;
        *out = result;
        if (!result) return true;
        left = std::move(right);
      }
      return true;
    }
    case Kind::kConditional: {
      Value condition;
      if (!evaluate(*children[0], &condition)) return false;
      if (condition.truth()) return evaluate(*children[1], out);
      if (children[2]) return evaluate(*children[2], out);
      *out = Value::undefined("the inline if-expression evaluated to false and no else section was defined.");
      return true;
    }
  }
  return fail("an expression of unknown kind");
}

bool Interpreter::binary(const Expression& expression, const Value& left, const Value& right, Value* out) {
  const std::string& sign = expression.name;
  if (sign == "~") {
    std::string text = left.str() + right.str();
    if (!charge(text.size())) return false;
    *out = std::move(text);
    return true;
  }
  if (!refuse_undefined(left) || !refuse_undefined(right)) return false;
  if (left.is_number() && right.is_number()) return arithmetic(sign, left, right, out);
  if (sign == "+" && left.string() && right.string()) {
    if (!charge(left.string()->size() + right.string()->size())) return false;
    *out = *left.string() + *right.string();
    return true;
  }
  if (sign == "+" && left.items() && right.items() && left.is_tuple() == right.is_tuple()) {
    List items = *left.items();
    items.insert(items.end(), right.items()->begin(), right.items()->end());
    if (!charge(kValueBytes * items.size())) return false;
    *out = Value::list(std::move(items), left.is_tuple());
    return true;
  }
  if (sign == "*" && (left.string() || left.items()) && right.is_number() && !right.is_float())
    return repeat(left, right.as_int(), out);
  if (sign == "*" && (right.string() || right.items()) && left.is_number() && !left.is_float())
    return repeat(right, left.as_int(), out);
  if (sign == "%" && left.string()) {
    Arguments arguments;
    if (right.items() && right.is_tuple()) {
      arguments.positional = *right.items();
    } else {
      arguments.positional.push_back(right);
    }
    return filter("format", left, arguments, out);
  }
  if (sign == "+" && left.string())
    return fail(fmt::format("can only concatenate str (not \"{}\") to str", right.type_name()));
  return fail(
      fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", sign, left.type_name(), right.type_name()));
}

bool Interpreter::repeat(const Value& sequence, int64_t count, Value* out) {
  const uint64_t times = count > 0 ? static_cast<uint64_t>(count) : 0;
  const uint64_t size = sequence.string() ? sequence.string()->size() : sequence.items()->size() * kValueBytes;
  if (times > 0 && size > limits_.memory_bytes / times) return charge(limits_.memory_bytes + 1);
  if (!charge(size * times)) return false;
  if (sequence.string()) {
    std::string text;
    text.reserve(size * times);
    for (uint64_t i = 0; size > 0 && i < times; ++i) text += *sequence.string();
    *out = std::move(text);
    return true;
  }
  List items;
  for (uint64_t i = 0; size > 0 && i < times; ++i)
    items.insert(items.end(), sequence.items()->begin(), sequence.items()->end());
  *out = Value::list(std::move(items), sequence.is_tuple());
  return true;
}

bool Interpreter::arithmetic(const std::string& sign, const Value& left, const Value& right, Value* out) {
  const bool is_float = left.is_float() || right.is_float();
  const auto overflow = [this] { return fail("an integer beyond 64 bits"); };
  if (sign == "**") return power(left, right, out);
  if (sign == "/" || sign == "//" || sign == "%") {
    if (right.as_float() == 0) return fail(sign == "%" ? "integer modulo by zero" : "division by zero");
    if (sign == "/") {
      *out = left.as_float() / right.as_float();
      return true;
    }
    if (is_float) {
      const double quotient = std::floor(left.as_float() / right.as_float());
      double rest = std::fmod(left.as_float(), right.as_float());
      if (rest != 0 && (rest < 0) != (right.as_float() < 0)) rest += right.as_float();
      *out = sign == "//" ? quotient : rest;
      return true;
    }
    const int64_t a = left.as_int();
    const int64_t b = right.as_int();
    if (a == INT64_MIN && b == -1) return sign == "//" ? overflow() : (*out = int64_t{0}, true);
    const int64_t rest = a % b != 0 && (a % b < 0) != (b < 0) ? a % b + b : a % b;
    *out = sign == "//" ? (a - rest) / b : rest;
    return true;
  }
  if (is_float) {
    const double a = left.as_float();
    const double b = right.as_float();
    *out = sign == "+" ? a + b : sign == "-" ? a - b : a * b;
    return true;
  }
  int64_t result = 0;
  const int64_t a = left.as_int();
  const int64_t b = right.as_int();
  const bool is_over = sign == "+"   ? __builtin_add_overflow(a, b, &result)
                       : sign == "-" ? __builtin_sub_overflow(a, b, &result)
                                     : __builtin_mul_overflow(a, b, &result);
  if (is_over) return overflow();
  *out = result;
  return true;
}

bool Interpreter::power(const Value& left, const Value& right, Value* out) {
  if (left.is_float() || right.is_float() || right.as_int() < 0) {
    if (left.as_float() == 0 && right.as_float() < 0) return fail("0.0 cannot be raised to a negative power");
    *out = std::pow(left.as_float(), right.as_float());
    return true;
  }
  int64_t result = 1;
  int64_t base = left.as_int();
  for (int64_t exponent = right.as_int(); exponent > 0; exponent /= 2) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) return fail("an integer beyond 64 bits");
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return fail("an integer beyond 64 bits");
  }
  *out = result;
  return true;
}

bool Interpreter::contains(const Value& needle, const Value& hay, bool* out) {
  if (!refuse_undefined(hay)) return false;
  if (const std::string* text = hay.string()) {
    if (!needle.string())
      return fail(fmt::format("'in <string>' requires string as left operand, not {}", needle.type_name()));
    *out = text->find(*needle.string()) != std::string::npos;
    return true;
  }
  if (const List* list = hay.items()) {
    *out = std::ranges::find(*list, needle) != list->end();
    return true;
  }
  if (const Dict* dict = hay.members()) {
    *out = dict->find(needle) != nullptr;
    return true;
  }
  return fail(fmt::format("argument of type '{}' is not iterable", hay.type_name()));
}

bool Interpreter::compare(const std::string& sign, const Value& left, const Value& right, bool* out) {
  if (sign == "in" || sign == "not in") {
    if (!contains(left, right, out)) return false;
    if (sign == "not in") *out = !*out;
    return true;
  }
  if (sign == "==" || sign == "!=") {
    *out = (left == right) == (sign == "==");
    return true;
  }
  if (!refuse_undefined(left) || !refuse_undefined(right)) return false;
  bool can = false;
  const bool is_less = sign == "<" || sign == ">=" ? less(left, right, &can) : less(right, left, &can);
  if (!can)
    return fail(fmt::format("'{}' not supported between instances of '{}' and '{}'", sign, left.type_name(),
                            right.type_name()));
  *out = sign == "<" || sign == ">" ? is_less : !is_less;
  return true;
}

bool Interpreter::slice(const Value& object, const Value& start, const Value& stop, const Value& step_value,
                        Value* out) {
  if (!refuse_undefined(object)) return false;
  for (const Value* bound : {&start, &stop, &step_value}) {
    if (!bound->is_none() && (!bound->is_number() || bound->is_float()))
      return fail("slice indices must be integers or None");
  }
  if (!object.string() && !object.items()) {
    *out = Value::undefined("a slice of this");
    return true;
  }
  std::vector<std::string_view> text;
  if (object.string()) text = characters(*object.string());
  const auto size = static_cast<int64_t>(object.string() ? text.size() : object.items()->size());
  const int64_t by = step_value.is_none() ? 1 : step_value.as_int();
  if (by == 0) return fail("slice step cannot be zero");
  const int64_t stride = std::clamp(by, -size - 1, size + 1);
  const auto bound = [&](const Value& value, int64_t otherwise) {
    if (value.is_none()) return otherwise;
    const int64_t at = value.as_int() < 0 ? value.as_int() + size : value.as_int();
    return std::clamp<int64_t>(at, by < 0 ? -1 : 0, by < 0 ? size - 1 : size);
  };
  const int64_t first = bound(start, by < 0 ? size - 1 : 0);
  const int64_t last = bound(stop, by < 0 ? -1 : size);
  std::string sliced;
  List items;
  for (int64_t i = first; by > 0 ? i < last : i > last; i += stride) {
    if (object.string()) {
      sliced += text[static_cast<size_t>(i)];
    } else {
      items.push_back((*object.items())[static_cast<size_t>(i)]);
    }
  }
  if (!charge(sliced.size() + items.size() * kValueBytes + kValueBytes)) return false;
  *out = object.string() ? Value(std::move(sliced)) : Value::list(std::move(items), object.is_tuple());
  return true;
}

bool Interpreter::iterate(const Value& value, std::vector<Value>* out) {
  if (value.is_undefined()) return true;  // jinja2's Undefined is an empty sequence
  if (const List* list = value.items()) {
    *out = *list;
  } else if (const Dict* dict = value.members(); dict && !value.is_namespace()) {
    for (const auto& item : dict->items) out->push_back(item.first);
  } else if (const std::string* text = value.string()) {
    for (const std::string_view character : characters(*text)) out->emplace_back(std::string(character));
  } else {
    return fail(fmt::format("'{}' object is not iterable", value.type_name()));
  }
  return charge(out->size() * kValueBytes);
}

bool Interpreter::item(const Value& object, const Value& key, Value* out) {
  if (!refuse_undefined(object)) return false;
  if (const Dict* dict = object.members(); dict && !object.is_namespace()) {
    if (const Value* found = dict->find(key)) {
      *out = *found;
      return true;
    }
    if (key.string()) return attribute(object, *key.string(), out);
    *out = Value::undefined(key.str());
    return true;
  }
  if ((object.items() || object.string()) && key.is_number() && !key.is_float()) {
    const std::vector<std::string_view> text =
        object.string() ? characters(*object.string()) : std::vector<std::string_view>();
    const auto size = static_cast<int64_t>(object.string() ? text.size() : object.items()->size());
    const int64_t at = key.as_int() < 0 ? key.as_int() + size : key.as_int();
    if (at < 0 || at >= size) {
      *out = Value::undefined(fmt::format("{} object has no element {}", object.type_name(), key.as_int()));
    } else {
      *out = object.string() ? Value(std::string(text[static_cast<size_t>(at)]))
                             : (*object.items())[static_cast<size_t>(at)];
    }
    return true;
  }
  if (key.string()) return attribute(object, *key.string(), out);
  *out = Value::undefined(fmt::format("{} object has no element {}", object.type_name(), key.str()));
  return true;
}

}  // namespace dynamo::text::jinja
