// Tests (`x is defined`), as Python's jinja2 has them.
#include <fmt/format.h>

#include "text/jinja/builtins.h"
#include "text/jinja/python_text.h"

namespace dynamo::text::jinja {
namespace {

using Test = bool (*)(const Value&);

bool is_sequence(const Value& value) {
  return value.string() || value.items() || (value.members() && !value.is_namespace()) || value.is_undefined();
}

const std::map<std::string, Test, std::less<>> kTests = {
    {"defined", [](const Value& v) { return !v.is_undefined(); }},
    {"undefined", [](const Value& v) { return v.is_undefined(); }},
    {"none", [](const Value& v) { return v.is_none(); }},
    {"string", [](const Value& v) { return v.string() != nullptr; }},
    {"number", [](const Value& v) { return v.is_number(); }},
    {"integer", [](const Value& v) { return v.is_int(); }},
    {"float", [](const Value& v) { return v.is_float(); }},
    {"boolean", [](const Value& v) { return v.is_bool(); }},
    {"mapping", [](const Value& v) { return v.members() != nullptr && !v.is_namespace(); }},
    {"sequence", is_sequence},
    {"iterable", is_sequence},
    {"callable", [](const Value& v) { return v.callable() != nullptr; }},
    {"true", [](const Value& v) { return v.is_bool() && v.truth(); }},
    {"false", [](const Value& v) { return v.is_bool() && !v.truth(); }},
    {"escaped", [](const Value&) { return false; }},
    {"upper", [](const Value& v) { return is_upper(v.str()); }},
    {"lower", [](const Value& v) { return is_lower(v.str()); }},
    {"filter", [](const Value& v) { return v.string() && filters().contains(*v.string()); }},
};

const std::map<std::string, Operator, std::less<>> kComparisons = {
    {"eq", Operator::kEqual},          {"equalto", Operator::kEqual},
    {"==", Operator::kEqual},          {"ne", Operator::kNotEqual},
    {"!=", Operator::kNotEqual},       {"lt", Operator::kLess},
    {"lessthan", Operator::kLess},     {"<", Operator::kLess},
    {"le", Operator::kLessOrEqual},    {"<=", Operator::kLessOrEqual},
    {"gt", Operator::kGreater},        {"greaterthan", Operator::kGreater},
    {">", Operator::kGreater},         {"ge", Operator::kGreaterOrEqual},
    {">=", Operator::kGreaterOrEqual}, {"in", Operator::kIn}};

}  // namespace

Result<bool> Interpreter::test(const std::string& name, const Value& input, const Arguments& arguments) {
  TRY_STATUS(step());
  if (const auto found = kTests.find(name); found != kTests.end()) return found->second(input);
  const Value* argument = arguments.find(0, "other");
  if (const auto found = kComparisons.find(name); found != kComparisons.end()) {
    if (!argument) return fail(fmt::format("the test '{}' takes an argument", name));
    return compare(found->second, input, *argument);
  }
  if (name == "odd" || name == "even") {
    TRY_STATUS(refuse_undefined(input));
    if (!input.is_number()) return fail(fmt::format("'{}' takes a number", name));
    return (input.as_int() % 2 != 0) == (name == "odd");
  }
  if (name == "divisibleby") {
    if (!argument) return fail("divisibleby takes a number");
    if (!input.is_number() || !argument->is_number()) return fail("divisibleby takes numbers");
    if (argument->as_int() == 0) return fail("integer modulo by zero");
    return argument->as_int() == -1 || input.as_int() % argument->as_int() == 0;
  }
  if (name == "sameas") return argument && input.data().index() == argument->data().index() && input == *argument;
  return fail(fmt::format("No test named '{}'.", name));
}

}  // namespace dynamo::text::jinja
