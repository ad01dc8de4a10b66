// Filters of text and numbers, as Python's jinja2 has them.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "text/jinja/builtins.h"
#include "text/jinja/python_text.h"

namespace dynamo::text::jinja {
namespace {

std::string escaped(std::string_view text) {
  static const std::map<char, std::string_view> kEntities = {
      {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&#34;"}, {'\'', "&#39;"}};
  std::string out;
  for (const char c : text) {
    const auto entity = kEntities.find(c);
    out += entity == kEntities.end() ? std::string_view(&c, 1) : entity->second;
  }
  return out;
}

Result<Value> filter_tojson(Interpreter* self, const Value& input, const Arguments& arguments) {
  const Value* ensure = arguments.find(0, "ensure_ascii");
  const Value* indent = arguments.find(1, "indent");
  const Value* separators = arguments.find(2, "separators");
  const Value* sort = arguments.find(3, "sort_keys");
  const int spaces =
      indent && indent->is_number() ? static_cast<int>(std::clamp<int64_t>(indent->as_int(), 0, 100)) : -1;
  std::string item = spaces >= 0 ? "," : ", ";
  std::string key = ": ";
  if (separators && separators->items() && separators->items()->size() == 2) {
    item = (*separators->items())[0].str();
    key = (*separators->items())[1].str();
  }
  bool can = false;
  std::string text = to_json(input, spaces, flag_or(ensure, false), flag_or(sort, false), item, key, &can);
  if (!can) return self->fail(fmt::format("Object of type {} is not JSON serializable", input.type_name()));
  TRY_STATUS(self->charge(text.size()));
  return Value(std::move(text));
}

// A filter that needs only the text: kFunction(text).
template <auto kFunction>
Result<Value> of_text(Interpreter* self, const Value& input, const Arguments&) {
  const std::string text = input.str();
  TRY_STATUS(self->charge(text.size()));
  return Value(std::string(kFunction(text)));
}
std::string_view same(std::string_view text) {
  return text;
}

Result<Value> filter_trim(Interpreter* self, const Value& input, const Arguments& arguments) {
  const std::string text = input.str();
  TRY_STATUS(self->charge(text.size()));
  return Value(strip(text, arguments.find(0, "chars"), true, true));
}

// `text` as a number; nothing if it is not one from its first to its last character.
template <class Number>
std::optional<Number> number_in(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  Number number = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

Result<Value> filter_int(Interpreter*, const Value& input, const Arguments& arguments) {
  if (input.is_number()) return Value(input.as_int());
  if (input.string()) {
    const std::string text = strip(*input.string(), nullptr, true, true);
    if (const auto number = number_in<int64_t>(text)) return Value(*number);
    if (const auto number = number_in<double>(text); number && std::fabs(*number) < 9e18)
      return Value(static_cast<int64_t>(*number));
  }
  const Value* otherwise = arguments.find(0, "default");
  return otherwise ? *otherwise : Value(int64_t{0});
}

Result<Value> filter_float(Interpreter*, const Value& input, const Arguments& arguments) {
  if (input.is_number()) return Value(input.as_float());
  if (input.string()) {
    if (const auto number = number_in<double>(strip(*input.string(), nullptr, true, true))) return Value(*number);
  }
  const Value* otherwise = arguments.find(0, "default");
  return otherwise ? *otherwise : Value(0.0);
}

Result<Value> filter_abs(Interpreter* self, const Value& input, const Arguments&) {
  if (!input.is_number()) return self->fail(fmt::format("bad operand type for abs(): '{}'", input.type_name()));
  if (input.is_float()) return Value(std::fabs(input.as_float()));
  return Value(input.as_int() < 0 ? -input.as_int() : input.as_int());
}

Result<Value> filter_round(Interpreter* self, const Value& input, const Arguments& arguments) {
  if (!input.is_number()) return self->fail(fmt::format("type {} doesn't define __round__ method", input.type_name()));
  const int64_t digits = std::clamp<int64_t>(int_or(arguments.find(0, "precision"), 0), -300, 300);
  const Value* method = arguments.find(1, "method");
  const std::string how = method ? method->str() : "common";
  const double scale = std::pow(10.0, static_cast<double>(digits));
  // Python rounds the exact decimal value: printing does the same.
  if (how == "common" && digits >= 0) return Value(std::stod(fmt::format("{:.{}f}", input.as_float(), digits)));
  if (how == "common") return Value(std::nearbyint(input.as_float() * scale) / scale);
  if (how == "ceil") return Value(std::ceil(input.as_float() * scale) / scale);
  if (how == "floor") return Value(std::floor(input.as_float() * scale) / scale);
  return self->fail("method must be common, ceil or floor");
}

Result<Value> filter_indent(Interpreter* self, const Value& input, const Arguments& arguments) {
  const Value* width = arguments.find(0, "width");
  const bool first = flag_or(arguments.find(1, "first"), false);
  const bool blank = flag_or(arguments.find(2, "blank"), false);
  const std::string pad = width && width->string()
                              ? *width->string()
                              : std::string(static_cast<size_t>(std::clamp<int64_t>(int_or(width, 4), 0, 10000)), ' ');
  const std::string text = input.str();
  std::string made;
  bool is_first = true;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    if (is_first ? first : blank || !line.empty()) made += pad;
    made += line;
    TRY_STATUS(self->charge(line.size() + pad.size()));
    if (end < text.size()) made += '\n';
    is_first = false;
    at = end + 1;
  }
  return Value(std::move(made));
}

Result<Value> filter_center(Interpreter* self, const Value& input, const Arguments& arguments) {
  const std::string text = input.str();
  const auto width = static_cast<uint64_t>(std::max<int64_t>(0, int_or(arguments.find(0, "width"), 80)));
  const size_t size = characters(text).size();
  if (width <= size) return Value(text);
  TRY_STATUS(self->charge(width));
  const uint64_t pad = width - size;
  const uint64_t left = pad / 2 + (pad & width & 1);
  return Value(std::string(left, ' ') + text + std::string(pad - left, ' '));
}

Result<Value> filter_replace(Interpreter* self, const Value& input, const Arguments& arguments) {
  return method_replace(self, Value(input.str()), arguments);
}
Result<Value> filter_format(Interpreter* self, const Value& input, const Arguments& arguments) {
  TRY(std::string text, format_percent(self, input.str(), arguments));
  TRY_STATUS(self->charge(text.size()));
  return Value(std::move(text));
}
Result<Value> filter_wordcount(Interpreter*, const Value& input, const Arguments&) {
  return Value(static_cast<int64_t>(split_text(input.str(), nullptr, -1, false).size()));
}

}  // namespace

void add_text_filters(Builtins* filters) {
  filters->insert({{"tojson", filter_tojson},
                   {"trim", filter_trim},
                   {"upper", of_text<upper>},
                   {"lower", of_text<lower>},
                   {"capitalize", of_text<capitalize>},
                   {"title", of_text<title_words>},
                   {"string", of_text<same>},
                   {"safe", of_text<same>},
                   {"e", of_text<escaped>},
                   {"escape", of_text<escaped>},
                   {"replace", filter_replace},
                   {"format", filter_format},
                   {"indent", filter_indent},
                   {"center", filter_center},
                   {"wordcount", filter_wordcount},
                   {"int", filter_int},
                   {"float", filter_float},
                   {"abs", filter_abs},
                   {"round", filter_round}});
}

}  // namespace dynamo::text::jinja
