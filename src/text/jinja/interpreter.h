// Runs a template: scopes, statements and expressions. Filters, tests and methods are in builtins.cc.
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

class Interpreter {
 public:
  Interpreter(const TemplateLimits& limits, std::chrono::system_clock::time_point now) : limits_(limits), now_(now) {}

  Result<std::string> render(const Body& body, const boost::json::object& variables);

  // For builtins. Each returns false after the first failure, which stands.
  bool fail(std::string text);
  bool fail_limit(std::string text);
  bool step();
  bool charge(uint64_t bytes);  // memory for a value about to be made
  bool filter(const std::string& name, const Value& input, const Arguments& arguments, Value* out);
  bool test(const std::string& name, const Value& input, const Arguments& arguments, bool* out);
  bool attribute(const Value& object, const std::string& name, Value* out);
  bool item(const Value& object, const Value& key, Value* out);
  bool call(const Value& callee, const Arguments& arguments, Value* out);
  bool iterate(const Value& value, std::vector<Value>* out);
  std::chrono::system_clock::time_point now() const { return now_; }

 private:
  using Scope = std::map<std::string, Value, std::less<>>;
  enum class Flow { kNext, kBreak, kContinue, kFailed };
  struct Loop;

  Flow run(const Body& body);
  Flow run(const Statement& statement);
  Flow run_for(const Statement& statement);
  Flow run_loop(const Statement& statement, const Value& iterable, uint32_t depth);
  bool run_set(const Statement& statement);
  bool capture(const Body& body, std::string* out);
  Value macro_of(const Statement& statement, std::string name);
  bool call_macro(const Statement& statement, const std::vector<Scope>& closure, const Arguments& arguments,
                  Value* out);
  Flow run_call(const Statement& statement);
  bool assign(const Target& target, Value value);
  bool apply_filters(const Expression& expression, Value input, Value* out);

  bool evaluate(const Expression& expression, Value* out);
  bool evaluate_arguments(const CallArguments& arguments, Arguments* out);
  bool binary(const Expression& expression, const Value& left, const Value& right, Value* out);
  bool arithmetic(const std::string& sign, const Value& left, const Value& right, Value* out);
  bool power(const Value& left, const Value& right, Value* out);
  bool repeat(const Value& sequence, int64_t count, Value* out);
  bool compare(const std::string& sign, const Value& left, const Value& right, bool* out);
  bool contains(const Value& needle, const Value& hay, bool* out);
  bool slice(const Value& object, const Value& start, const Value& stop, const Value& step, Value* out);
  bool name(const std::string& name, Value* out);
  bool write(std::string_view text);
  bool refuse_undefined(const Value& value);

  TemplateLimits limits_;
  std::chrono::system_clock::time_point now_;
  std::vector<Scope> scopes_;
  std::string output_;
  Status failure_;
  int line_ = 0;
  uint64_t steps_ = 0;
  uint64_t memory_ = 0;
  uint32_t depth_ = 0;
};

// Global functions: range, namespace, dict, joiner, cycler, raise_exception, strftime_now.
std::vector<std::pair<std::string, Value>> global_functions();

}  // namespace dynamo::text::jinja
