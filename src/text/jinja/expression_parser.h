// Reads the tokens of a template into expressions: a cursor over the tokens, and one method per level of precedence.
// Private to the module.  Threads: one.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "text/jinja/lexer.h"
#include "text/jinja/syntax.h"

namespace dynamo::text::jinja {

constexpr uint32_t kMaxLinks = 4000;

class ExpressionParser {
 protected:
  using Kind = Expression::Kind;
  using Parsed = Result<ExpressionPtr>;

  ExpressionParser(std::vector<Token> tokens, uint32_t max_depth) : tokens_(std::move(tokens)), max_depth_(max_depth) {}

  const Token& token() const { return tokens_[at_]; }
  const Token& peek(size_t ahead) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Status wrong(std::string_view text) const { return invalid(fmt::format("line {}: {}", token().line, text)); }

  bool is_operator(std::string_view text) const {
    return token().kind == Token::Kind::kOperator && token().text == text;
  }
  bool is_name(std::string_view text) const { return token().kind == Token::Kind::kName && token().text == text; }
  bool take_operator(std::string_view text) { return is_operator(text) && ++at_; }
  bool take_name(std::string_view text) { return is_name(text) && ++at_; }
  Status expect_operator(std::string_view text) {
    if (take_operator(text)) return {};
    return wrong(fmt::format("expected '{}'{}", text, token().text.empty() ? "" : ", found '" + token().text + "'"));
  }
  Status expect(Token::Kind kind, std::string_view what) {
    if (token().kind != kind)
      return wrong(fmt::format("expected {}{}", what, token().text.empty() ? "" : ", found '" + token().text + "'"));
    ++at_;
    return {};
  }
  Result<std::string> expect_name() {
    if (token().kind != Token::Kind::kName) return wrong("expected a name");
    return tokens_[at_++].text;
  }

  // Counts one level of nesting for as long as it lives.
  struct Deeper {
    explicit Deeper(ExpressionParser* parser) : parser(parser) { ++parser->depth_; }
    ~Deeper() { --parser->depth_; }
    ExpressionParser* parser;
  };
  // Counts one more operator, filter or call of an expression: each is a level of its tree.
  Status link() {
    return ++links_ > kMaxLinks ? wrong(fmt::format("an expression of more than {} operations", kMaxLinks)) : Status();
  }
  Status check_depth() const {
    return depth_ > max_depth_ ? wrong(fmt::format("nested deeper than {} levels", max_depth_)) : Status();
  }

  ExpressionPtr make(Kind kind) const {
    auto expression = std::make_unique<Expression>();
    expression->kind = kind;
    expression->line = token().line;
    return expression;
  }
  static ExpressionPtr with(ExpressionPtr parent, ExpressionPtr a, ExpressionPtr b = nullptr) {
    parent->children.push_back(std::move(a));
    if (b) parent->children.push_back(std::move(b));
    return parent;
  }

  Parsed parse_expression(bool takes_condition = true);
  // expression {, expression}: a tuple if there is a comma.
  Parsed parse_tuple(bool takes_condition = true);
  bool starts_expression() const;
  Parsed parse_or();
  Parsed parse_and();
  Parsed parse_not();
  std::optional<Operator> take_comparison();
  Parsed parse_comparison();
  // A level of left-associative operators.
  template <class Next>
  Parsed parse_binary(std::initializer_list<Operator> signs, Next next);
  Parsed parse_sum();
  Parsed parse_concat();
  Parsed parse_product();
  Parsed parse_unary(bool takes_filters = true);
  Parsed parse_primary();
  Parsed parse_name(ExpressionPtr value);
  Parsed parse_parentheses();
  Parsed parse_list();
  Parsed parse_dict();
  Parsed parse_postfix(ExpressionPtr value);
  Parsed parse_subscript(ExpressionPtr object);
  Result<CallArguments> parse_arguments();
  Parsed parse_filters(ExpressionPtr value);
  Parsed parse_test(ExpressionPtr value);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  uint32_t links_ = 0;  // of the statement being parsed

 private:
  uint32_t max_depth_;
  uint32_t depth_ = 0;
};

}  // namespace dynamo::text::jinja
