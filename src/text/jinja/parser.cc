// Statements: tags and what stands between them. Expressions are in expression_parser.h.
#include <fmt/format.h>

#include "text/jinja/expression_parser.h"

namespace dynamo::text::jinja {
namespace {

class Parser : private ExpressionParser {
 public:
  Parser(std::vector<Token> tokens, uint32_t max_depth) : ExpressionParser(std::move(tokens), max_depth) {}

  Result<Body> run();

 private:
  // Statements up to one of the `ends` tags, whose name is not consumed.
  Result<Body> parse_body(std::initializer_list<std::string_view> ends);
  Status end_tag();
  Status expect_end(std::string_view name);
  Status parse_tag(Statement* statement);
  Status parse_if(Statement* statement);
  Result<Target> parse_target(bool takes_attribute);
  Status parse_for(Statement* statement);
  Status parse_set(Statement* statement);
  Status parse_parameters(Statement* statement);
  Status parse_macro(Statement* statement);
  Status parse_call(Statement* statement);
  Status parse_filter_block(Statement* statement);
  Status parse_with(Statement* statement);

  int loops_ = 0;
};

Result<Body> Parser::run() {
  TRY(Body body, parse_body({}));
  if (token().kind != Token::Kind::kEnd) return wrong("unexpected end tag");
  return body;
}

Result<Body> Parser::parse_body(std::initializer_list<std::string_view> ends) {
  const Deeper deeper(this);
  TRY_STATUS(check_depth());
  Body body;
  for (;;) {
    auto statement = std::make_unique<Statement>();
    statement->line = token().line;
    links_ = 0;
    if (token().kind == Token::Kind::kText) {
      statement->text = tokens_[at_++].text;
    } else if (token().kind == Token::Kind::kOutputBegin) {
      ++at_;
      statement->kind = Statement::Kind::kOutput;
      TRY(statement->expression, parse_tuple());
      TRY_STATUS(expect(Token::Kind::kOutputEnd, "'}}'"));
    } else if (token().kind == Token::Kind::kBlockBegin) {
      for (const std::string_view end : ends) {
        if (peek(1).kind == Token::Kind::kName && peek(1).text == end) {
          ++at_;
          return body;
        }
      }
      ++at_;
      TRY_STATUS(parse_tag(statement.get()));
    } else {
      if (ends.size() > 0) return wrong(fmt::format("expected {{% {} %}}", *(ends.end() - 1)));
      return body;
    }
    body.push_back(std::move(statement));
  }
}

Status Parser::end_tag() {
  return expect(Token::Kind::kBlockEnd, "'%}'");
}

Status Parser::expect_end(std::string_view name) {
  if (!take_name(name)) return wrong(fmt::format("expected {{% {} %}}", name));
  return end_tag();
}

Status Parser::parse_tag(Statement* statement) {
  TRY(const std::string tag, expect_name());
  if (tag == "if") return parse_if(statement);
  if (tag == "for") return parse_for(statement);
  if (tag == "set") return parse_set(statement);
  if (tag == "macro") return parse_macro(statement);
  if (tag == "call") return parse_call(statement);
  if (tag == "filter") return parse_filter_block(statement);
  if (tag == "with") return parse_with(statement);
  if (tag == "generation") {
    statement->kind = Statement::Kind::kScope;
    TRY_STATUS(end_tag());
    TRY(statement->body, parse_body({"endgeneration"}));
    return expect_end("endgeneration");
  }
  if (tag == "break" || tag == "continue") {
    if (loops_ == 0) return wrong(fmt::format("'{}' outside a loop", tag));
    statement->kind = tag == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue;
    return end_tag();
  }
  if (tag.starts_with("end") || tag == "else" || tag == "elif")
    return wrong(fmt::format("{{% {} %}} ends nothing", tag));
  return unsupported(fmt::format("line {}: the tag '{}' is not supported", token().line, tag));
}

Status Parser::parse_if(Statement* statement) {
  statement->kind = Statement::Kind::kIf;
  TRY(statement->expression, parse_tuple());
  TRY_STATUS(end_tag());
  TRY(statement->body, parse_body({"elif", "else", "endif"}));
  if (is_name("elif")) {
    auto next = std::make_unique<Statement>();
    next->line = token().line;
    ++at_;
    const Deeper deeper(this);
    TRY_STATUS(check_depth());
    TRY_STATUS(parse_if(next.get()));
    statement->otherwise.push_back(std::move(next));
    return {};
  }
  if (take_name("else")) {
    TRY_STATUS(end_tag());
    TRY(statement->otherwise, parse_body({"endif"}));
  }
  return expect_end("endif");
}

Result<Target> Parser::parse_target(bool takes_attribute) {
  Target target;
  std::vector<Target> parts;
  bool is_tuple = false;
  for (;;) {
    Target part;
    if (take_operator("(")) {
      TRY(part, parse_target(takes_attribute));
      TRY_STATUS(expect_operator(")"));
    } else {
      TRY(part.name, expect_name());
      if (takes_attribute && take_operator(".")) {
        TRY(part.attribute, expect_name());
      }
    }
    parts.push_back(std::move(part));
    if (!take_operator(",")) break;
    is_tuple = true;
    if (token().kind != Token::Kind::kName || is_name("in")) break;
  }
  if (!is_tuple) return std::move(parts.front());
  target.parts = std::move(parts);
  return target;
}

Status Parser::parse_for(Statement* statement) {
  statement->kind = Statement::Kind::kFor;
  TRY(statement->target, parse_target(false));
  if (!take_name("in")) return wrong("expected 'in'");
  TRY(statement->expression, parse_tuple(/*takes_condition=*/false));
  if (take_name("if")) {
    TRY(statement->condition, parse_expression());
  }
  statement->is_recursive = take_name("recursive");
  TRY_STATUS(end_tag());
  ++loops_;
  auto body = parse_body({"else", "endfor"});
  --loops_;
  TRY(statement->body, std::move(body));
  if (take_name("else")) {
    TRY_STATUS(end_tag());
    TRY(statement->otherwise, parse_body({"endfor"}));
  }
  return expect_end("endfor");
}

Status Parser::parse_set(Statement* statement) {
  TRY(statement->target, parse_target(true));
  if (take_operator("=")) {
    statement->kind = Statement::Kind::kSet;
    TRY(statement->expression, parse_tuple());
    return end_tag();
  }
  statement->kind = Statement::Kind::kSetBlock;
  if (is_operator("|")) {
    TRY(statement->expression, parse_filters(make(Kind::kLiteral)));
  }
  TRY_STATUS(end_tag());
  TRY(statement->body, parse_body({"endset"}));
  return expect_end("endset");
}

Status Parser::parse_parameters(Statement* statement) {
  TRY_STATUS(expect_operator("("));
  while (!is_operator(")")) {
    TRY(std::string name, expect_name());
    ExpressionPtr value;
    if (take_operator("=")) {
      TRY(value, parse_expression());
    }
    statement->parameters.emplace_back(std::move(name), std::move(value));
    if (!take_operator(",")) break;
  }
  return expect_operator(")");
}

Status Parser::parse_macro(Statement* statement) {
  statement->kind = Statement::Kind::kMacro;
  TRY(statement->name, expect_name());
  TRY_STATUS(parse_parameters(statement));
  TRY_STATUS(end_tag());
  const int loops = std::exchange(loops_, 0);
  auto body = parse_body({"endmacro"});
  loops_ = loops;
  TRY(statement->body, std::move(body));
  return expect_end("endmacro");
}

Status Parser::parse_call(Statement* statement) {
  statement->kind = Statement::Kind::kCall;
  if (is_operator("(")) TRY_STATUS(parse_parameters(statement));
  TRY(statement->expression, parse_unary());
  if (statement->expression->kind != Kind::kCall) return wrong("expected a call");
  TRY_STATUS(end_tag());
  TRY(statement->body, parse_body({"endcall"}));
  return expect_end("endcall");
}

Status Parser::parse_filter_block(Statement* statement) {
  statement->kind = Statement::Kind::kFilter;
  tokens_.insert(tokens_.begin() + static_cast<std::ptrdiff_t>(at_), {Token::Kind::kOperator, "|", token().line});
  TRY(statement->expression, parse_filters(make(Kind::kLiteral)));
  TRY_STATUS(end_tag());
  TRY(statement->body, parse_body({"endfilter"}));
  return expect_end("endfilter");
}

Status Parser::parse_with(Statement* statement) {
  statement->kind = Statement::Kind::kWith;
  while (token().kind == Token::Kind::kName) {
    TRY(std::string name, expect_name());
    TRY_STATUS(expect_operator("="));
    TRY(ExpressionPtr value, parse_expression());
    statement->parameters.emplace_back(std::move(name), std::move(value));
    if (!take_operator(",")) break;
  }
  TRY_STATUS(end_tag());
  TRY(statement->body, parse_body({"endwith"}));
  return expect_end("endwith");
}

}  // namespace

Result<Body> parse(std::string_view source, uint32_t max_depth) {
  TRY(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens), max_depth).run();
}

}  // namespace dynamo::text::jinja
