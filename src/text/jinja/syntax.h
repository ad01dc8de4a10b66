// A template as a tree. Built once by parse(), then only read.  Private to the module.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "text/jinja/value.h"

namespace dynamo::text::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

enum class Operator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kConcatenate,
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kIn,
  kNotIn
};
// As templates write it: "+", "not in".
std::string_view sign_of(Operator operation);

struct Expression {
  enum class Kind {
    kLiteral,
    kName,
    kList,
    kTuple,
    kDict,
    kAttribute,
    kSubscript,
    kSlice,
    kCall,
    kFilter,
    kTest,
    kNot,
    kNegative,
    kPositive,
    kBinary,
    kAnd,
    kOr,
    kCompare,
    kConditional,
  };
  Kind kind = Kind::kLiteral;
  int line = 0;
  Value literal;
  std::string name;  // of a variable, attribute, filter or test
  // Operands, items, or key and value in turn; slices: object, start, stop, step (may be null).
  std::vector<ExpressionPtr> children;
  std::vector<Operator> operators;  // of a chain of comparisons; one if binary
  CallArguments arguments;
  bool is_negated = false;  // `is not`
};

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

// What an assignment or loop binds: a name, a member of a namespace, or a tuple of these.
struct Target {
  std::string name;
  std::string attribute;
  std::vector<Target> parts;
};

struct Statement {
  enum class Kind {
    kText,
    kOutput,
    kIf,
    kFor,
    kSet,
    kSetBlock,
    kMacro,
    kCall,
    kFilter,
    kWith,
    kScope,
    kBreak,
    kContinue
  };
  Kind kind = Kind::kText;
  int line = 0;
  std::string text;          // of kText
  ExpressionPtr expression;  // output, condition, iterable, value, call
  ExpressionPtr condition;   // `for ... if`
  Target target;
  Body body;
  Body otherwise;  // else
  bool is_recursive = false;
  std::string name;                                               // of a macro
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // with default, or null; also `with` assignments
};

// Errors: kInvalid, with the line; kUnsupported for a tag that is not here. Nesting deeper than `max_depth` is kInvalid.
Result<Body> parse(std::string_view source, uint32_t max_depth);

}  // namespace dynamo::text::jinja
