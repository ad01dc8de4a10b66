#include "text/jinja/expression_parser.h"

#include <charconv>

namespace dynamo::text::jinja {

Result<ExpressionPtr> ExpressionParser::parse_expression(bool takes_condition) {
  const Deeper deeper(this);
  TRY_STATUS(check_depth());
  TRY(ExpressionPtr value, parse_or());
  while (takes_condition && is_name("if")) {
    TRY_STATUS(link());
    ExpressionPtr choice = make(Kind::kConditional);
    ++at_;
    TRY(ExpressionPtr condition, parse_or());
    ExpressionPtr otherwise;
    if (take_name("else")) {
      TRY(otherwise, parse_expression());
    }
    choice->children.push_back(std::move(condition));
    choice->children.push_back(std::move(value));
    choice->children.push_back(std::move(otherwise));
    value = std::move(choice);
  }
  return value;
}

Result<ExpressionPtr> ExpressionParser::parse_tuple(bool takes_condition) {
  TRY(ExpressionPtr first, parse_expression(takes_condition));
  if (!is_operator(",")) return first;
  ExpressionPtr tuple = make(Kind::kTuple);
  tuple->children.push_back(std::move(first));
  while (take_operator(",")) {
    if (!starts_expression()) break;
    TRY(ExpressionPtr next, parse_expression(takes_condition));
    tuple->children.push_back(std::move(next));
  }
  return tuple;
}

bool ExpressionParser::starts_expression() const {
  const Token::Kind kind = token().kind;
  if (kind == Token::Kind::kOperator)
    return token().text == "(" || token().text == "[" || token().text == "{" || token().text == "-" ||
           token().text == "+";
  if (kind == Token::Kind::kName) return token().text != "in" && token().text != "if" && token().text != "recursive";
  return kind == Token::Kind::kString || kind == Token::Kind::kInteger || kind == Token::Kind::kFloat;
}

Result<ExpressionPtr> ExpressionParser::parse_or() {
  TRY(ExpressionPtr left, parse_and());
  while (is_name("or")) {
    TRY_STATUS(link());
    ExpressionPtr both = make(Kind::kOr);
    ++at_;
    TRY(ExpressionPtr right, parse_and());
    left = with(std::move(both), std::move(left), std::move(right));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::parse_and() {
  TRY(ExpressionPtr left, parse_not());
  while (is_name("and")) {
    TRY_STATUS(link());
    ExpressionPtr both = make(Kind::kAnd);
    ++at_;
    TRY(ExpressionPtr right, parse_not());
    left = with(std::move(both), std::move(left), std::move(right));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::parse_not() {
  if (!is_name("not")) return parse_comparison();
  const Deeper deeper(this);
  TRY_STATUS(check_depth());
  ExpressionPtr negation = make(Kind::kNot);
  ++at_;
  TRY(ExpressionPtr operand, parse_not());
  return with(std::move(negation), std::move(operand));
}

std::optional<Operator> ExpressionParser::take_comparison() {
  for (const Operator sign : {Operator::kEqual, Operator::kNotEqual, Operator::kLessOrEqual, Operator::kGreaterOrEqual,
                              Operator::kLess, Operator::kGreater}) {
    if (take_operator(sign_of(sign))) return sign;
  }
  if (take_name("in")) return Operator::kIn;
  if (is_name("not") && peek(1).kind == Token::Kind::kName && peek(1).text == "in") {
    at_ += 2;
    return Operator::kNotIn;
  }
  return std::nullopt;
}

Result<ExpressionPtr> ExpressionParser::parse_comparison() {
  TRY(ExpressionPtr left, parse_sum());
  ExpressionPtr chain = make(Kind::kCompare);
  while (const auto sign = take_comparison()) {
    chain->operators.push_back(*sign);
    TRY(ExpressionPtr right, parse_sum());
    chain->children.push_back(std::move(right));
  }
  if (chain->operators.empty()) return left;
  chain->children.insert(chain->children.begin(), std::move(left));
  return chain;
}

template <class Next>
Result<ExpressionPtr> ExpressionParser::parse_binary(std::initializer_list<Operator> signs, Next next) {
  TRY(ExpressionPtr left, next());
  for (;;) {
    ExpressionPtr both = make(Kind::kBinary);
    for (const Operator sign : signs) {
      if (both->operators.empty() && take_operator(sign_of(sign))) both->operators.push_back(sign);
    }
    if (both->operators.empty()) return left;
    TRY_STATUS(link());
    TRY(ExpressionPtr right, next());
    left = with(std::move(both), std::move(left), std::move(right));
  }
}

Result<ExpressionPtr> ExpressionParser::parse_sum() {
  return parse_binary({Operator::kAdd, Operator::kSubtract}, [this] { return parse_concat(); });
}

Result<ExpressionPtr> ExpressionParser::parse_concat() {
  return parse_binary({Operator::kConcatenate}, [this] { return parse_product(); });
}

Result<ExpressionPtr> ExpressionParser::parse_product() {
  return parse_binary({Operator::kMultiply, Operator::kFloorDivide, Operator::kDivide, Operator::kModulo},
                      [this] { return parse_unary(); });
}

Result<ExpressionPtr> ExpressionParser::parse_unary(bool takes_filters) {
  const Deeper deeper(this);
  TRY_STATUS(check_depth());
  ExpressionPtr value;
  if (is_operator("-") || is_operator("+")) {
    value = make(is_operator("-") ? Kind::kNegative : Kind::kPositive);
    ++at_;
    TRY(ExpressionPtr operand, parse_unary(/*takes_filters=*/false));
    value = with(std::move(value), std::move(operand));
  } else {
    TRY(value, parse_primary());
  }
  TRY(value, parse_postfix(std::move(value)));
  if (is_operator("**")) {
    ExpressionPtr power = make(Kind::kBinary);
    power->operators.push_back(Operator::kPower);
    ++at_;
    TRY(ExpressionPtr exponent, parse_unary(/*takes_filters=*/false));
    value = with(std::move(power), std::move(value), std::move(exponent));
  }
  return takes_filters ? parse_filters(std::move(value)) : Parsed(std::move(value));
}

Result<ExpressionPtr> ExpressionParser::parse_primary() {
  ExpressionPtr value = make(Kind::kLiteral);
  const Token& now = token();
  switch (now.kind) {
    case Token::Kind::kString: {
      std::string text;
      while (token().kind == Token::Kind::kString) text += tokens_[at_++].text;  // adjacent strings are one
      value->literal = std::move(text);
      return value;
    }
    case Token::Kind::kInteger: {
      int64_t number = 0;
      const auto end = std::from_chars(now.text.data(), now.text.data() + now.text.size(), number);
      if (end.ec != std::errc()) return wrong("an integer beyond 64 bits");
      value->literal = number;
      ++at_;
      return value;
    }
    case Token::Kind::kFloat: {
      double number = 0;
      std::from_chars(now.text.data(), now.text.data() + now.text.size(), number);
      value->literal = number;
      ++at_;
      return value;
    }
    case Token::Kind::kName:
      return parse_name(std::move(value));
    default:
      break;
  }
  if (is_operator("(")) return parse_parentheses();
  if (is_operator("[")) return parse_list();
  if (is_operator("{")) return parse_dict();
  return wrong(now.text.empty() ? "expected an expression" : "expected an expression, found '" + now.text + "'");
}

Result<ExpressionPtr> ExpressionParser::parse_name(ExpressionPtr value) {
  const std::string name = tokens_[at_++].text;
  if (name == "true" || name == "True") {
    value->literal = true;
  } else if (name == "false" || name == "False") {
    value->literal = false;
  } else if (name != "none" && name != "None") {
    value->kind = Kind::kName;
    value->name = name;
  }
  return value;
}

Result<ExpressionPtr> ExpressionParser::parse_parentheses() {
  ExpressionPtr tuple = make(Kind::kTuple);
  ++at_;
  if (take_operator(")")) return tuple;
  TRY(ExpressionPtr inner, parse_tuple());
  TRY_STATUS(expect_operator(")"));
  return inner;
}

Result<ExpressionPtr> ExpressionParser::parse_list() {
  ExpressionPtr list = make(Kind::kList);
  ++at_;
  while (!is_operator("]")) {
    TRY(ExpressionPtr item, parse_expression());
    list->children.push_back(std::move(item));
    if (!take_operator(",")) break;
  }
  TRY_STATUS(expect_operator("]"));
  return list;
}

Result<ExpressionPtr> ExpressionParser::parse_dict() {
  ExpressionPtr dict = make(Kind::kDict);
  ++at_;
  while (!is_operator("}")) {
    TRY(ExpressionPtr key, parse_expression());
    TRY_STATUS(expect_operator(":"));
    TRY(ExpressionPtr item, parse_expression());
    dict->children.push_back(std::move(key));
    dict->children.push_back(std::move(item));
    if (!take_operator(",")) break;
  }
  TRY_STATUS(expect_operator("}"));
  return dict;
}

Result<ExpressionPtr> ExpressionParser::parse_postfix(ExpressionPtr value) {
  for (;;) {
    TRY_STATUS(link());
    if (is_operator(".")) {
      ExpressionPtr member = make(Kind::kAttribute);
      ++at_;
      if (token().kind == Token::Kind::kInteger) {
        member->kind = Kind::kSubscript;
        TRY(ExpressionPtr index, parse_primary());
        value = with(std::move(member), std::move(value), std::move(index));
        continue;
      }
      TRY(member->name, expect_name());
      value = with(std::move(member), std::move(value));
    } else if (is_operator("[")) {
      TRY(value, parse_subscript(std::move(value)));
    } else if (is_operator("(")) {
      ExpressionPtr call = make(Kind::kCall);
      TRY(call->arguments, parse_arguments());
      value = with(std::move(call), std::move(value));
    } else {
      return value;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::parse_subscript(ExpressionPtr object) {
  ExpressionPtr place = make(Kind::kSubscript);
  ++at_;
  ExpressionPtr parts[3];
  int count = 0;
  bool is_slice = false;
  for (;;) {
    if (!is_operator(":") && !is_operator("]")) {
      TRY(parts[count], parse_tuple());
    }
    if (!is_operator(":") || count == 2) break;
    ++at_;
    ++count;
    is_slice = true;
  }
  TRY_STATUS(expect_operator("]"));
  if (!is_slice) {
    if (!parts[0]) return wrong("an empty subscript");
    return with(std::move(place), std::move(object), std::move(parts[0]));
  }
  place->kind = Kind::kSlice;
  place->children.push_back(std::move(object));
  for (ExpressionPtr& part : parts) place->children.push_back(std::move(part));
  return place;
}

Result<CallArguments> ExpressionParser::parse_arguments() {
  CallArguments arguments;
  TRY_STATUS(expect_operator("("));
  while (!is_operator(")")) {
    if (is_operator("*") || is_operator("**"))
      return unsupported(fmt::format("line {}: '{}' arguments are not supported", token().line, token().text));
    if (token().kind == Token::Kind::kName && peek(1).kind == Token::Kind::kOperator && peek(1).text == "=") {
      std::string name = tokens_[at_].text;
      at_ += 2;
      TRY(ExpressionPtr value, parse_expression());
      arguments.named.emplace_back(std::move(name), std::move(value));
    } else {
      if (!arguments.named.empty()) return wrong("a positional argument after a named one");
      TRY(ExpressionPtr value, parse_expression());
      arguments.positional.push_back(std::move(value));
    }
    if (!take_operator(",")) break;
  }
  TRY_STATUS(expect_operator(")"));
  return arguments;
}

Result<ExpressionPtr> ExpressionParser::parse_filters(ExpressionPtr value) {
  for (;;) {
    TRY_STATUS(link());
    if (is_operator("|")) {
      ExpressionPtr filter = make(Kind::kFilter);
      ++at_;
      TRY(filter->name, expect_name());
      if (is_operator("(")) {
        TRY(filter->arguments, parse_arguments());
      }
      value = with(std::move(filter), std::move(value));
    } else if (is_name("is")) {
      TRY(value, parse_test(std::move(value)));
    } else if (is_operator("(") || is_operator(".") || is_operator("[")) {
      TRY(value, parse_postfix(std::move(value)));
    } else {
      return value;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::parse_test(ExpressionPtr value) {
  ExpressionPtr test = make(Kind::kTest);
  ++at_;
  test->is_negated = take_name("not");
  TRY(test->name, expect_name());
  if (is_operator("(")) {
    TRY(test->arguments, parse_arguments());
  } else if (starts_expression() && !is_operator("-") && !is_operator("+") && !is_name("else") && !is_name("or") &&
             !is_name("and") && !is_name("is") && !is_name("not")) {
    TRY(ExpressionPtr argument, parse_primary());
    TRY(argument, parse_postfix(std::move(argument)));
    test->arguments.positional.push_back(std::move(argument));
  }
  return with(std::move(test), std::move(value));
}

}  // namespace dynamo::text::jinja
