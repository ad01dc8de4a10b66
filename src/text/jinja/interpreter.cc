#include "text/jinja/interpreter.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>

namespace dynamo::text::jinja {

Status Interpreter::fail(std::string text) const {
  return invalid(fmt::format("line {}: {}", line_, text));
}

Status Interpreter::fail_limit(std::string text) const {
  return exhausted(fmt::format("line {}: {}", line_, text));
}

Status Interpreter::step() {
  if (++steps_ <= limits_.steps) return {};
  return fail_limit(fmt::format("the template took more than {} steps", limits_.steps));
}

Status Interpreter::charge(uint64_t bytes) {
  memory_ += bytes;
  if (memory_ <= limits_.memory_bytes) return {};
  return fail_limit(fmt::format("the template made values of more than {} bytes", limits_.memory_bytes));
}

Status Interpreter::write(std::string_view text) {
  if (output_.size() + text.size() > limits_.output_bytes)
    return fail_limit(fmt::format("the prompt grew beyond {} bytes", limits_.output_bytes));
  output_ += text;
  return {};
}

Result<std::string> Interpreter::render(const Body& body, const boost::json::object& variables) {
  scopes_.emplace_back();
  for (auto& [key, value] : global_functions()) scopes_.back()[key] = std::move(value);
  for (const auto& [key, value] : variables)
    scopes_.back()[std::string(key.data(), key.size())] = Value::from_json(value);
  TRY_STATUS(run_in_scope({}, body));
  return std::move(output_);
}

Result<Interpreter::Flow> Interpreter::run(const Body& body) {
  for (const auto& statement : body) {
    TRY(const Flow flow, run(*statement));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::run_in_scope(Scope scope, const Body& body) {
  scopes_.push_back(std::move(scope));
  auto flow = run(body);
  scopes_.pop_back();
  return flow;
}

Result<Interpreter::Flow> Interpreter::run(const Statement& statement) {
  TRY_STATUS(step());
  line_ = statement.line;
  switch (statement.kind) {
    case Statement::Kind::kText:
      TRY_STATUS(write(statement.text));
      return Flow::kNext;
    case Statement::Kind::kOutput: {
      TRY(const Value value, evaluate(*statement.expression));
      TRY_STATUS(write(value.str()));
      return Flow::kNext;
    }
    case Statement::Kind::kIf: {
      TRY(const Value condition, evaluate(*statement.expression));
      return run(condition.truth() ? statement.body : statement.otherwise);
    }
    case Statement::Kind::kFor: {
      TRY(const Value iterable, evaluate(*statement.expression));
      return run_loop(statement, iterable, 1);
    }
    case Statement::Kind::kSet:
    case Statement::Kind::kSetBlock:
      TRY_STATUS(run_set(statement));
      return Flow::kNext;
    case Statement::Kind::kMacro:
      scopes_.back()[statement.name] = macro_of(statement, statement.name);
      return Flow::kNext;
    case Statement::Kind::kCall:
      TRY_STATUS(run_call(statement));
      return Flow::kNext;
    case Statement::Kind::kFilter: {
      TRY(std::string text, capture(statement.body));
      TRY(const Value filtered, apply_filters(*statement.expression, std::move(text)));
      TRY_STATUS(write(filtered.str()));
      return Flow::kNext;
    }
    case Statement::Kind::kWith:
      return run_with(statement);
    case Statement::Kind::kScope:
      return run_in_scope({}, statement.body);
    case Statement::Kind::kBreak:
      return Flow::kBreak;
    case Statement::Kind::kContinue:
      return Flow::kContinue;
  }
  return fail("a statement of unknown kind");
}

Result<Interpreter::Flow> Interpreter::run_with(const Statement& statement) {
  Scope scope;
  for (const auto& [key, expression] : statement.parameters) {
    TRY(scope[key], evaluate(*expression));
  }
  return run_in_scope(std::move(scope), statement.body);
}

Result<std::string> Interpreter::capture(const Body& body) {
  std::string before = std::exchange(output_, {});
  const auto flow = run_in_scope({}, body);
  std::string written = std::exchange(output_, std::move(before));
  TRY_STATUS(flow);
  TRY_STATUS(charge(written.size()));
  return written;
}

// A chain of filters whose innermost input is given.
Result<Value> Interpreter::apply_filters(const Expression& expression, Value input) {
  if (expression.kind != Expression::Kind::kFilter) return input;
  TRY(const Value inner, apply_filters(*expression.children[0], std::move(input)));
  TRY(const Arguments arguments, evaluate_arguments(expression.arguments));
  return filter(expression.name, inner, arguments);
}

Status Interpreter::run_set(const Statement& statement) {
  if (statement.kind == Statement::Kind::kSet) {
    TRY(Value value, evaluate(*statement.expression));
    return assign(statement.target, std::move(value));
  }
  TRY(std::string text, capture(statement.body));
  Value value(std::move(text));
  if (statement.expression) {
    TRY(value, apply_filters(*statement.expression, std::move(value)));
  }
  return assign(statement.target, std::move(value));
}

Status Interpreter::assign(const Target& target, Value value) {
  if (!target.parts.empty()) {
    TRY(List items, iterate(value));
    if (items.size() != target.parts.size())
      return fail(fmt::format("{} values to unpack into {} names", items.size(), target.parts.size()));
    for (size_t i = 0; i < items.size(); ++i) TRY_STATUS(assign(target.parts[i], std::move(items[i])));
    return {};
  }
  if (target.attribute.empty()) {
    scopes_.back()[target.name] = std::move(value);
    return {};
  }
  const Value object = name(target.name);
  if (!object.is_namespace()) return fail("cannot assign attribute on non-namespace object");
  object.members()->set(target.attribute, std::move(value));
  return charge(kValueBytes);
}

// --- loops ---

struct Interpreter::Loop {
  List items;
  size_t index = 0;
  Value changed;
  bool has_changed = false;
};

namespace {

// The variable `loop`, as it stands at one item.
Dict loop_members(size_t index, size_t count, uint32_t depth, const List& items) {
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

// The items that the loop's own `if` lets through.
Result<List> Interpreter::items_of(const Statement& statement, const Value& iterable) {
  TRY(List items, iterate(iterable));
  if (!statement.condition) return items;
  List kept;
  for (Value& item : items) {
    scopes_.emplace_back();
    const Status assigned = assign(statement.target, item);
    auto condition = assigned.is_ok() ? evaluate(*statement.condition) : Result<Value>(assigned);
    scopes_.pop_back();
    TRY(const Value keeps, std::move(condition));
    if (keeps.truth()) kept.push_back(std::move(item));
  }
  return kept;
}

// What `loop(items)` calls in a recursive loop.
Value Interpreter::repeat_of(const Statement& statement, uint32_t depth) {
  return Value::callable({"loop", [this, &statement, depth](Interpreter*, const Arguments& arguments) -> Result<Value> {
                            if (arguments.positional.size() != 1) return fail("loop() takes one argument");
                            if (depth_ >= limits_.depth) return fail_limit("recursion is too deep");
                            ++depth_;
                            std::string before = std::exchange(output_, {});
                            const auto flow = run_loop(statement, arguments.positional[0], depth + 1);
                            std::string written = std::exchange(output_, std::move(before));
                            --depth_;
                            TRY_STATUS(flow);
                            return Value(std::move(written));
                          }});
}

Result<Interpreter::Flow> Interpreter::run_loop(const Statement& statement, const Value& iterable, uint32_t depth) {
  auto loop = std::make_shared<Loop>();
  TRY(loop->items, items_of(statement, iterable));
  if (loop->items.empty()) return run_in_scope({}, statement.otherwise);
  const Value cycle = Value::callable({"cycle", [loop](Interpreter* self, const Arguments& arguments) -> Result<Value> {
                                         if (arguments.positional.empty())
                                           return self->fail("no items for cycling given");
                                         return arguments.positional[loop->index % arguments.positional.size()];
                                       }});
  const Value changed = Value::callable({"changed", [loop](Interpreter*, const Arguments& arguments) -> Result<Value> {
                                           Value now = Value::list(arguments.positional, true);
                                           const bool is_new = !loop->has_changed || !(now == loop->changed);
                                           loop->has_changed = true;
                                           loop->changed = std::move(now);
                                           return Value(is_new);
                                         }});
  const Value again = repeat_of(statement, depth);
  const size_t count = loop->items.size();
  for (loop->index = 0; loop->index < count; ++loop->index) {
    TRY_STATUS(step());
    Dict members = loop_members(loop->index, count, depth, loop->items);
    members.items.emplace_back("cycle", cycle);
    members.items.emplace_back("changed", changed);
    if (statement.is_recursive) members.items.emplace_back("__call__", again);
    scopes_.emplace_back()["loop"] = Value::dict(std::move(members));
    const Status assigned = assign(statement.target, loop->items[loop->index]);
    const auto ended = assigned.is_ok() ? run(statement.body) : Result<Flow>(assigned);
    scopes_.pop_back();
    TRY(const Flow flow, ended);
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

// --- macros ---

Value Interpreter::macro_of(const Statement& statement, std::string name) {
  // A macro sees the variables of the place where it stands, as they are when it is called at that level or below.
  const size_t level = scopes_.size();
  return Value::callable({std::move(name), [this, &statement, level](Interpreter*, const Arguments& arguments) {
                            const auto end = static_cast<std::ptrdiff_t>(std::min(level, scopes_.size()));
                            const std::vector<Scope> closure(scopes_.begin(), scopes_.begin() + end);
                            return call_macro(statement, closure, arguments);
                          }});
}

Result<Value> Interpreter::call_macro(const Statement& statement, const std::vector<Scope>& closure,
                                      const Arguments& arguments) {
  if (depth_ >= limits_.depth) return fail_limit(fmt::format("macros nested deeper than {} calls", limits_.depth));
  Scope scope;
  for (size_t i = 0; i < statement.parameters.size(); ++i) {
    const auto& [key, otherwise] = statement.parameters[i];
    if (const Value* given = arguments.find(i, key)) {
      scope[key] = *given;
    } else if (otherwise) {
      TRY(scope[key], evaluate(*otherwise));
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
  std::string before = std::exchange(output_, {});
  ++depth_;
  const auto flow = run_in_scope(std::move(scope), statement.body);
  --depth_;
  scopes_ = std::move(outside);
  std::string written = std::exchange(output_, std::move(before));
  TRY_STATUS(flow);
  TRY_STATUS(charge(written.size() + kValueBytes));
  return Value(std::move(written));
}

Status Interpreter::run_call(const Statement& statement) {
  TRY(const Value callee, evaluate(*statement.expression->children[0]));
  TRY(Arguments arguments, evaluate_arguments(statement.expression->arguments));
  arguments.named.emplace_back("caller", macro_of(statement, "caller"));
  TRY(const Value out, call(callee, arguments));
  return write(out.str());
}

}  // namespace dynamo::text::jinja
