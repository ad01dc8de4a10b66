// Runs a template: scopes, statements and expressions. Filters, tests and methods: builtins.h.
// Threads: one per rendering; the tree is shared and only read.  Private to the module.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "text/chat_template.h"
#include "text/jinja/syntax.h"

namespace dynamo::text::jinja {

constexpr uint64_t kValueBytes = 48;  // what a small value costs, roughly

class Interpreter {
 public:
  Interpreter(const TemplateLimits& limits, std::chrono::system_clock::time_point now) : limits_(limits), now_(now) {}

  Result<std::string> render(const Body& body, const boost::json::object& variables);

  // For builtins. Errors: kInvalid with the line; kExhausted at a limit.
  Status fail(std::string text) const;
  Status step();
  Status charge(uint64_t bytes);  // memory for a value about to be made
  Result<Value> filter(const std::string& name, const Value& input, const Arguments& arguments);
  Result<bool> test(const std::string& name, const Value& input, const Arguments& arguments);
  Result<Value> attribute(const Value& object, const std::string& name);
  Result<Value> item(const Value& object, const Value& key);
  Result<Value> call(const Value& callee, const Arguments& arguments);
  Result<List> iterate(const Value& value);
  std::chrono::system_clock::time_point now() const { return now_; }

 private:
  using Scope = std::map<std::string, Value, std::less<>>;
  enum class Flow { kNext, kBreak, kContinue };
  struct Loop;

  Status fail_limit(std::string text) const;
  // Statements (interpreter.cc).
  Result<Flow> run(const Body& body);
  Result<Flow> run(const Statement& statement);
  Result<Flow> run_in_scope(Scope scope, const Body& body);
  Result<Flow> run_with(const Statement& statement);
  Result<Flow> run_loop(const Statement& statement, const Value& iterable, uint32_t depth);
  Result<List> items_of(const Statement& statement, const Value& iterable);
  Value repeat_of(const Statement& statement, uint32_t depth);
  Status run_set(const Statement& statement);
  // What `body` writes.
  Result<std::string> capture(const Body& body);
  Value macro_of(const Statement& statement, std::string name);
  Result<Value> call_macro(const Statement& statement, const std::vector<Scope>& closure, const Arguments& arguments);
  Status run_call(const Statement& statement);
  Status assign(const Target& target, Value value);
  Result<Value> apply_filters(const Expression& expression, Value input);
  Status write(std::string_view text);

  // Expressions (expressions.cc).
  Result<Value> evaluate(const Expression& expression);
  Result<Value> evaluate_sequence(const Expression& expression);
  Result<Value> evaluate_dict(const Expression& expression);
  Result<Value> evaluate_slice(const Expression& expression);
  Result<Value> evaluate_sign(const Expression& expression);
  Result<Value> evaluate_comparisons(const Expression& expression);
  Result<Value> evaluate_conditional(const Expression& expression);
  Result<Arguments> evaluate_arguments(const CallArguments& arguments);
  Value name(const std::string& name) const;
  Status refuse_undefined(const Value& value) const;

  // Operators (operators.cc).
  Result<Value> binary(Operator operation, const Value& left, const Value& right);
  Result<Value> arithmetic(Operator operation, const Value& left, const Value& right) const;
  Result<Value> power(const Value& left, const Value& right) const;
  Result<Value> repeat(const Value& sequence, int64_t count);
  Result<bool> compare(Operator operation, const Value& left, const Value& right) const;
  Result<bool> contains(const Value& needle, const Value& hay) const;
  Result<Value> slice(const Value& object, const Value& start, const Value& stop, const Value& step);

  TemplateLimits limits_;
  std::chrono::system_clock::time_point now_;
  std::vector<Scope> scopes_;
  std::string output_;
  int line_ = 0;
  uint64_t steps_ = 0;
  uint64_t memory_ = 0;
  uint32_t depth_ = 0;
};

// Global functions: range, namespace, dict, joiner, cycler, raise_exception, strftime_now.
std::vector<std::pair<std::string, Value>> global_functions();

}  // namespace dynamo::text::jinja
