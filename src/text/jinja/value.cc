#include "text/jinja/value.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace dynamo::text::jinja {

const Value* Dict::find(const Value& key) const {
  for (const auto& [name, value] : items) {
    if (name == key) return &value;
  }
  return nullptr;
}

void Dict::set(Value key, Value value) {
  for (auto& [name, old] : items) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  items.emplace_back(std::move(key), std::move(value));
}

const Value* Arguments::find(size_t position, std::string_view name) const {
  if (position < positional.size()) return &positional[position];
  for (const auto& [key, value] : named) {
    if (key == name) return &value;
  }
  return nullptr;
}

Value Value::undefined(std::string name) {
  Value value;
  value.data_ = Undefined{std::move(name)};
  return value;
}

Value Value::list(List items, bool is_tuple) {
  Value value;
  value.data_ = std::make_shared<List>(std::move(items));
  value.is_tuple_ = is_tuple;
  return value;
}

Value Value::dict(Dict items) {
  Value value;
  value.data_ = std::make_shared<Dict>(std::move(items));
  return value;
}

Value Value::name_space(Dict items) {
  Value value = dict(std::move(items));
  value.is_namespace_ = true;
  return value;
}

Value Value::callable(Callable callable) {
  Value value;
  value.data_ = std::make_shared<const Callable>(std::move(callable));
  return value;
}

Value Value::from_json(const boost::json::value& json) {
  switch (json.kind()) {
    case boost::json::kind::null:
      return {};
    case boost::json::kind::bool_:
      return json.get_bool();
    case boost::json::kind::int64:
      return json.get_int64();
    case boost::json::kind::uint64:
      return static_cast<double>(json.get_uint64());
    case boost::json::kind::double_:
      return json.get_double();
    case boost::json::kind::string:
      return std::string(json.get_string().data(), json.get_string().size());
    case boost::json::kind::array: {
      List items;
      for (const auto& item : json.get_array()) items.push_back(from_json(item));
      return list(std::move(items));
    }
    case boost::json::kind::object: {
      Dict members;
      for (const auto& [key, value] : json.get_object()) {
        members.items.emplace_back(std::string(key.data(), key.size()), from_json(value));
      }
      return dict(std::move(members));
    }
  }
  return {};
}

const std::string* Value::string() const {
  const auto* text = std::get_if<std::shared_ptr<const std::string>>(&data_);
  return text ? text->get() : nullptr;
}
List* Value::items() const {
  const auto* list = std::get_if<std::shared_ptr<List>>(&data_);
  return list ? list->get() : nullptr;
}
Dict* Value::members() const {
  const auto* dict = std::get_if<std::shared_ptr<Dict>>(&data_);
  return dict ? dict->get() : nullptr;
}
const Callable* Value::callable() const {
  const auto* callable = std::get_if<std::shared_ptr<const Callable>>(&data_);
  return callable ? callable->get() : nullptr;
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return as_float() != 0;
  if (const std::string* text = string()) return !text->empty();
  if (const List* list = items()) return !list->empty();
  if (is_namespace_) return true;
  if (const Dict* dict = members()) return !dict->items.empty();
  return true;
}

int64_t Value::as_int() const {
  if (is_bool()) return std::get<bool>(data_) ? 1 : 0;
  if (is_float()) return static_cast<int64_t>(std::get<double>(data_));
  return std::get<int64_t>(data_);
}

double Value::as_float() const {
  return is_float() ? std::get<double>(data_) : static_cast<double>(as_int());
}

const char* Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_float()) return "float";
  if (string()) return "str";
  if (items()) return is_tuple_ ? "tuple" : "list";
  if (members()) return is_namespace_ ? "Namespace" : "dict";
  return "function";
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const double magnitude = std::fabs(value);
  const bool is_plain = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value,
                                 is_plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(buffer, end.ptr);
  if (is_plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t at = 0; at < text.size();) {
    size_t next = at + 1;
    while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xC0) == 0x80) ++next;
    out.push_back(text.substr(at, next - at));
    at = next;
  }
  return out;
}

namespace {

std::string string_repr(const std::string& text) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + quote;
}

}  // namespace

std::string Value::repr() const {
  if (is_undefined()) return "Undefined";
  if (const std::string* text = string()) return string_repr(*text);
  if (const List* list = items()) {
    std::string out = is_tuple_ ? "(" : "[";
    for (const Value& item : *list) out += (&item == list->data() ? "" : ", ") + item.repr();
    if (is_tuple_) return out + (list->size() == 1 ? ",)" : ")");
    return out + "]";
  }
  if (const Dict* dict = members()) {
    std::string out = is_namespace_ ? "<Namespace {" : "{";
    for (const auto& item : dict->items)
      out += (&item == dict->items.data() ? "" : ", ") + item.first.repr() + ": " + item.second.repr();
    return out + (is_namespace_ ? "}>" : "}");
  }
  return str();
}

std::string Value::str() const {
  if (is_undefined()) return "";
  if (is_none()) return "None";
  if (is_bool()) return std::get<bool>(data_) ? "True" : "False";
  if (is_int()) return std::to_string(std::get<int64_t>(data_));
  if (is_float()) return float_text(std::get<double>(data_));
  if (const std::string* text = string()) return *text;
  if (const Callable* callable = this->callable()) return "<function " + callable->name + ">";
  return repr();
}

bool operator==(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? a.as_float() == b.as_float() : a.as_int() == b.as_int();
  }
  if (a.data().index() != b.data().index()) return false;
  if (a.is_undefined() || a.is_none()) return true;
  if (const std::string* text = a.string()) return *text == *b.string();
  if (const List* list = a.items()) return a.is_tuple() == b.is_tuple() && *list == *b.items();
  if (const Dict* dict = a.members()) {
    if (a.is_namespace() || b.is_namespace()) return dict == b.members();
    return dict->items.size() == b.members()->items.size() && std::ranges::all_of(dict->items, [&](const auto& item) {
             const Value* other = b.members()->find(item.first);
             return other && *other == item.second;
           });
  }
  return a.callable() == b.callable();
}

bool less(const Value& a, const Value& b, bool* can) {
  *can = true;
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? a.as_float() < b.as_float() : a.as_int() < b.as_int();
  }
  if (a.string() && b.string()) return *a.string() < *b.string();  // byte order of UTF-8 is the order of code points
  if (a.items() && b.items() && a.is_tuple() == b.is_tuple()) {
    const List& left = *a.items();
    const List& right = *b.items();
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!(left[i] == right[i])) return less(left[i], right[i], can);
    }
    return left.size() < right.size();
  }
  *can = false;
  return false;
}

namespace {

// Not json/writer.h: a template's `tojson` must give what Python's json.dumps gives, byte by byte (its choice of escapes,
// \u escapes of what is not ASCII, spaces, NaN), since models were trained on that.
void append_json_text(std::string_view text, bool ensures_ascii, std::string* out) {
  *out += '"';
  for (const std::string_view character : characters(text)) {
    const auto c = static_cast<unsigned char>(character[0]);
    if (c == '"' || c == '\\') {
      *out += '\\';
      *out += character;
    } else if (c == '\n') {
      *out += "\\n";
    } else if (c == '\r') {
      *out += "\\r";
    } else if (c == '\t') {
      *out += "\\t";
    } else if (c == '\b') {
      *out += "\\b";
    } else if (c == '\f') {
      *out += "\\f";
    } else if (c < 0x20) {
      *out += fmt::format("\\u{:04x}", c);
    } else if (character.size() > 1 && ensures_ascii) {
      uint32_t point = character.size() == 2 ? c & 31 : character.size() == 3 ? c & 15 : c & 7;
      for (size_t i = 1; i < character.size(); ++i)
        point = (point << 6) | (static_cast<unsigned char>(character[i]) & 63);
      if (point < 0x10000) {
        *out += fmt::format("\\u{:04x}", point);
      } else {
        *out +=
            fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((point - 0x10000) >> 10), 0xDC00 + ((point - 0x10000) & 1023));
      }
    } else {
      *out += character;
    }
  }
  *out += '"';
}

struct JsonStyle {
  int indent;
  bool ensures_ascii;
  bool sorts_keys;
  std::string_view item_separator;
  std::string_view key_separator;
};

void append_json(const Value& value, const JsonStyle& style, int depth, std::string* out, bool* can) {
  const auto line = [&](int level) {
    if (style.indent < 0) return;
    *out += '\n';
    out->append(static_cast<size_t>(level * style.indent), ' ');
  };
  if (const std::string* text = value.string()) {
    append_json_text(*text, style.ensures_ascii, out);
  } else if (value.is_none()) {
    *out += "null";
  } else if (value.is_bool()) {
    *out += value.truth() ? "true" : "false";
  } else if (value.is_float() && std::isinf(value.as_float())) {
    *out += value.as_float() < 0 ? "-Infinity" : "Infinity";
  } else if (value.is_float() && std::isnan(value.as_float())) {
    *out += "NaN";
  } else if (value.is_number()) {
    *out += value.str();
  } else if (const List* list = value.items()) {
    *out += '[';
    for (const Value& item : *list) {
      if (&item != list->data()) *out += style.item_separator;
      line(depth + 1);
      append_json(item, style, depth + 1, out, can);
    }
    if (!list->empty()) line(depth);
    *out += ']';
  } else if (const Dict* dict = value.members(); dict && !value.is_namespace()) {
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict->items) items.push_back(&item);
    if (style.sorts_keys) {
      std::stable_sort(items.begin(), items.end(), [](const auto* a, const auto* b) {
        bool comparable = false;
        return less(a->first, b->first, &comparable);
      });
    }
    *out += '{';
    for (const auto* item : items) {
      if (item != items.front()) *out += style.item_separator;
      line(depth + 1);
      const std::string key = item->first.is_bool()   ? (item->first.truth() ? "true" : "false")
                              : item->first.is_none() ? "null"
                                                      : item->first.str();
      append_json_text(key, style.ensures_ascii, out);
      *out += style.key_separator;
      append_json(item->second, style, depth + 1, out, can);
    }
    if (!items.empty()) line(depth);
    *out += '}';
  } else {
    *can = false;
  }
}

}  // namespace

std::string to_json(const Value& value, int indent, bool ensures_ascii, bool sorts_keys,
                    std::string_view item_separator, std::string_view key_separator, bool* can) {
  std::string out;
  *can = true;
  append_json(value, {indent, ensures_ascii, sorts_keys, item_separator, key_separator}, 0, &out, can);
  return out;
}

}  // namespace dynamo::text::jinja
