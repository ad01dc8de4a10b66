// What operators do: arithmetic, comparison, membership and slices, as Python has them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "text/jinja/interpreter.h"

namespace dynamo::text::jinja {

std::string_view sign_of(Operator operation) {
  static constexpr std::string_view kSigns[] = {"+",  "-",  "*", "/",  "//", "%",  "**", "~",
                                                "==", "!=", "<", "<=", ">",  ">=", "in", "not in"};
  return kSigns[static_cast<size_t>(operation)];
}

Result<Value> Interpreter::binary(Operator operation, const Value& left, const Value& right) {
  if (operation == Operator::kConcatenate) {
    std::string text = left.str() + right.str();
    TRY_STATUS(charge(text.size()));
    return Value(std::move(text));
  }
  TRY_STATUS(refuse_undefined(left));
  TRY_STATUS(refuse_undefined(right));
  if (left.is_number() && right.is_number()) return arithmetic(operation, left, right);
  if (operation == Operator::kAdd && left.string() && right.string()) {
    TRY_STATUS(charge(left.string()->size() + right.string()->size()));
    return Value(*left.string() + *right.string());
  }
  if (operation == Operator::kAdd && left.items() && right.items() && left.is_tuple() == right.is_tuple()) {
    List items = *left.items();
    items.insert(items.end(), right.items()->begin(), right.items()->end());
    TRY_STATUS(charge(kValueBytes * items.size()));
    return Value::list(std::move(items), left.is_tuple());
  }
  const auto is_repeated = [&](const Value& sequence, const Value& count) {
    return operation == Operator::kMultiply && (sequence.string() || sequence.items()) && count.is_number() &&
           !count.is_float();
  };
  if (is_repeated(left, right)) return repeat(left, right.as_int());
  if (is_repeated(right, left)) return repeat(right, left.as_int());
  if (operation == Operator::kModulo && left.string()) {
    Arguments arguments;
    arguments.positional = right.items() && right.is_tuple() ? *right.items() : List{right};
    return filter("format", left, arguments);
  }
  if (operation == Operator::kAdd && left.string())
    return fail(fmt::format("can only concatenate str (not \"{}\") to str", right.type_name()));
  return fail(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", sign_of(operation), left.type_name(),
                          right.type_name()));
}

Result<Value> Interpreter::repeat(const Value& sequence, int64_t count) {
  const uint64_t times = count > 0 ? static_cast<uint64_t>(count) : 0;
  const uint64_t size = sequence.string() ? sequence.string()->size() : sequence.items()->size() * kValueBytes;
  if (times > 0 && size > limits_.memory_bytes / times) TRY_STATUS(charge(limits_.memory_bytes + 1));
  TRY_STATUS(charge(size * times));
  if (sequence.string()) {
    std::string text;
    text.reserve(size * times);
    for (uint64_t i = 0; size > 0 && i < times; ++i) text += *sequence.string();
    return Value(std::move(text));
  }
  List items;
  for (uint64_t i = 0; size > 0 && i < times; ++i)
    items.insert(items.end(), sequence.items()->begin(), sequence.items()->end());
  return Value::list(std::move(items), sequence.is_tuple());
}

namespace {

// Python's: rounded down, and the rest has the divisor's sign.
double floor_divide(Operator operation, double a, double b) {
  if (operation == Operator::kFloorDivide) return std::floor(a / b);
  const double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
// Requires: the quotient fits.
int64_t floor_divide(Operator operation, int64_t a, int64_t b) {
  const int64_t rest = a % b != 0 && (a % b < 0) != (b < 0) ? a % b + b : a % b;
  return operation == Operator::kFloorDivide ? (a - rest) / b : rest;
}

// False if the result is beyond 64 bits.
bool compute(Operator operation, int64_t a, int64_t b, int64_t* out) {
  switch (operation) {
    case Operator::kAdd:
      return !__builtin_add_overflow(a, b, out);
    case Operator::kSubtract:
      return !__builtin_sub_overflow(a, b, out);
    default:
      return !__builtin_mul_overflow(a, b, out);
  }
}

}  // namespace

Result<Value> Interpreter::arithmetic(Operator operation, const Value& left, const Value& right) const {
  const bool is_float = left.is_float() || right.is_float();
  const double x = left.as_float();
  const double y = right.as_float();
  switch (operation) {
    case Operator::kPower:
      return power(left, right);
    case Operator::kDivide:
    case Operator::kFloorDivide:
    case Operator::kModulo: {
      const bool is_modulo = operation == Operator::kModulo;
      if (y == 0) return fail(is_modulo ? "integer modulo by zero" : "division by zero");
      if (operation == Operator::kDivide) return Value(x / y);
      if (is_float) return Value(floor_divide(operation, x, y));
      const bool is_over = left.as_int() == INT64_MIN && right.as_int() == -1;
      if (is_over && is_modulo) return Value(int64_t{0});
      if (is_over) return fail("an integer beyond 64 bits");
      return Value(floor_divide(operation, left.as_int(), right.as_int()));
    }
    default:
      break;
  }
  if (is_float) return Value(operation == Operator::kAdd ? x + y : operation == Operator::kSubtract ? x - y : x * y);
  int64_t result = 0;
  if (!compute(operation, left.as_int(), right.as_int(), &result)) return fail("an integer beyond 64 bits");
  return Value(result);
}

Result<Value> Interpreter::power(const Value& left, const Value& right) const {
  if (left.is_float() || right.is_float() || right.as_int() < 0) {
    if (left.as_float() == 0 && right.as_float() < 0) return fail("0.0 cannot be raised to a negative power");
    return Value(std::pow(left.as_float(), right.as_float()));
  }
  int64_t result = 1;
  int64_t base = left.as_int();
  for (int64_t exponent = right.as_int(); exponent > 0; exponent /= 2) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) return fail("an integer beyond 64 bits");
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return fail("an integer beyond 64 bits");
  }
  return Value(result);
}

Result<bool> Interpreter::contains(const Value& needle, const Value& hay) const {
  TRY_STATUS(refuse_undefined(hay));
  if (const std::string* text = hay.string()) {
    if (needle.string()) return text->find(*needle.string()) != std::string::npos;
    return fail(fmt::format("'in <string>' requires string as left operand, not {}", needle.type_name()));
  }
  if (const List* list = hay.items()) return std::ranges::find(*list, needle) != list->end();
  if (const Dict* dict = hay.members()) return dict->find(needle) != nullptr;
  return fail(fmt::format("argument of type '{}' is not iterable", hay.type_name()));
}

Result<bool> Interpreter::compare(Operator operation, const Value& left, const Value& right) const {
  switch (operation) {
    case Operator::kIn:
    case Operator::kNotIn: {
      TRY(const bool is_in, contains(left, right));
      return is_in == (operation == Operator::kIn);
    }
    case Operator::kEqual:
      return left == right;
    case Operator::kNotEqual:
      return !(left == right);
    default:
      break;
  }
  TRY_STATUS(refuse_undefined(left));
  TRY_STATUS(refuse_undefined(right));
  const bool is_strict = operation == Operator::kLess || operation == Operator::kGreater;
  const bool is_forward = operation == Operator::kLess || operation == Operator::kGreaterOrEqual;
  bool can = false;
  const bool is_less = is_forward ? less(left, right, &can) : less(right, left, &can);
  if (!can)
    return fail(fmt::format("'{}' not supported between instances of '{}' and '{}'", sign_of(operation),
                            left.type_name(), right.type_name()));
  return is_less == is_strict;
}

Result<Value> Interpreter::slice(const Value& object, const Value& start, const Value& stop, const Value& step_value) {
  TRY_STATUS(refuse_undefined(object));
  for (const Value* bound : {&start, &stop, &step_value}) {
    if (!bound->is_none() && (!bound->is_number() || bound->is_float()))
      return fail("slice indices must be integers or None");
  }
  if (!object.string() && !object.items()) return Value::undefined("a slice of this");
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
  TRY_STATUS(charge(sliced.size() + items.size() * kValueBytes + kValueBytes));
  return object.string() ? Value(std::move(sliced)) : Value::list(std::move(items), object.is_tuple());
}

}  // namespace dynamo::text::jinja
