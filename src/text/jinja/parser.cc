#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "text/jinja/lexer.h"
#include "text/jinja/syntax.h"

namespace dynamo::text::jinja {
namespace {

using Kind = Expression::Kind;
using Parsed = Result<ExpressionPtr>;

constexpr uint32_t kMaxLinks = 4000;

class Parser {
 public:
  Parser(std::vector<Token> tokens, uint32_t max_depth) : tokens_(std::move(tokens)), max_depth_(max_depth) {}

  Result<Body> run() {
    TRY(Body body, parse_body({}));
    if (token().kind != Token::Kind::kEnd) return wrong("unexpected end tag");
    return body;
  }

 private:
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
    explicit Deeper(Parser* parser) : parser(parser) { ++parser->depth_; }
    ~Deeper() { --parser->depth_; }
    Parser* parser;
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

  // --- expressions, loosest first ---

  Parsed parse_expression(bool takes_condition = true) {
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

  // expression {, expression}: a tuple if there is a comma.
  Parsed parse_tuple(bool takes_condition = true) {
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
  bool starts_expression() const {
    const Token::Kind kind = token().kind;
    if (kind == Token::Kind::kOperator)
      return token().text == "(" || token().text == "[" || token().text == "{" || token().text == "-" ||
             token().text == "+";
    if (kind == Token::Kind::kName) return token().text != "in" && token().text != "if" && token().text != "recursive";
    return kind == Token::Kind::kString || kind == Token::Kind::kInteger || kind == Token::Kind::kFloat;
  }

  Parsed parse_or() {
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
  Parsed parse_and() {
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
  Parsed parse_not() {
    if (!is_name("not")) return parse_comparison();
    const Deeper deeper(this);
    TRY_STATUS(check_depth());
    ExpressionPtr negation = make(Kind::kNot);
    ++at_;
    TRY(ExpressionPtr operand, parse_not());
    return with(std::move(negation), std::move(operand));
  }

  std::optional<std::string> take_comparison() {
    for (const std::string_view sign : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (take_operator(sign)) return std::string(sign);
    }
    if (take_name("in")) return "in";
    if (is_name("not") && peek(1).kind == Token::Kind::kName && peek(1).text == "in") {
      at_ += 2;
      return "not in";
    }
    return std::nullopt;
  }
  Parsed parse_comparison() {
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

  // A level of left-associative operators.
  template <class Next>
  Parsed parse_binary(std::initializer_list<std::string_view> signs, Next next) {
    TRY(ExpressionPtr left, next());
    for (;;) {
      ExpressionPtr both = make(Kind::kBinary);
      for (const std::string_view sign : signs) {
        if (both->name.empty() && take_operator(sign)) both->name = sign;
      }
      if (both->name.empty()) return left;
      TRY_STATUS(link());
      TRY(ExpressionPtr right, next());
      left = with(std::move(both), std::move(left), std::move(right));
    }
  }
  Parsed parse_sum() {
    return parse_binary({"+", "-"}, [this] { return parse_concat(); });
  }
  Parsed parse_concat() {
    return parse_binary({"~"}, [this] { return parse_product(); });
  }
  Parsed parse_product() {
    return parse_binary({"*", "//", "/", "%"}, [this] { return parse_unary(); });
  }
  Parsed parse_unary(bool takes_filters = true) {
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
      power->name = "**";
      ++at_;
      TRY(ExpressionPtr exponent, parse_unary(/*takes_filters=*/false));
      value = with(std::move(power), std::move(value), std::move(exponent));
    }
    return takes_filters ? parse_filters(std::move(value)) : Parsed(std::move(value));
  }

  Parsed parse_primary() {
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

  Parsed parse_name(ExpressionPtr value) {
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

  Parsed parse_parentheses() {
    ExpressionPtr tuple = make(Kind::kTuple);
    ++at_;
    if (take_operator(")")) return tuple;
    TRY(ExpressionPtr inner, parse_tuple());
    TRY_STATUS(expect_operator(")"));
    return inner;
  }
  Parsed parse_list() {
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
  Parsed parse_dict() {
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

  Parsed parse_postfix(ExpressionPtr value) {
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

  Parsed parse_subscript(ExpressionPtr object) {
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

  Result<CallArguments> parse_arguments() {
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

  Parsed parse_filters(ExpressionPtr value) {
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

  Parsed parse_test(ExpressionPtr value) {
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

  // --- statements ---

  // Statements up to one of the `ends` tags, whose name is not consumed.
  Result<Body> parse_body(std::initializer_list<std::string_view> ends) {
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
  Status end_tag() { return expect(Token::Kind::kBlockEnd, "'%}'"); }
  Status expect_end(std::string_view name) {
    if (!take_name(name)) return wrong(fmt::format("expected {{% {} %}}", name));
    return end_tag();
  }

  Status parse_tag(Statement* statement) {
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

  Status parse_if(Statement* statement) {
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

  Result<Target> parse_target(bool takes_attribute) {
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

  Status parse_for(Statement* statement) {
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

  Status parse_set(Statement* statement) {
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

  Status parse_parameters(Statement* statement) {
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
  Status parse_macro(Statement* statement) {
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
  Status parse_call(Statement* statement) {
    statement->kind = Statement::Kind::kCall;
    if (is_operator("(")) TRY_STATUS(parse_parameters(statement));
    TRY(statement->expression, parse_unary());
    if (statement->expression->kind != Kind::kCall) return wrong("expected a call");
    TRY_STATUS(end_tag());
    TRY(statement->body, parse_body({"endcall"}));
    return expect_end("endcall");
  }
  Status parse_filter_block(Statement* statement) {
    statement->kind = Statement::Kind::kFilter;
    tokens_.insert(tokens_.begin() + static_cast<std::ptrdiff_t>(at_), {Token::Kind::kOperator, "|", token().line});
    TRY(statement->expression, parse_filters(make(Kind::kLiteral)));
    TRY_STATUS(end_tag());
    TRY(statement->body, parse_body({"endfilter"}));
    return expect_end("endfilter");
  }
  Status parse_with(Statement* statement) {
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

  std::vector<Token> tokens_;
  uint32_t max_depth_;
  size_t at_ = 0;
  uint32_t depth_ = 0;
  uint32_t links_ = 0;  // of the statement being parsed
  int loops_ = 0;
};

}  // namespace

Result<Body> parse(std::string_view source, uint32_t max_depth) {
  TRY(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens), max_depth).run();
}

}  // namespace dynamo::text::jinja
