// Filters, tests, methods and global functions, as Python's jinja2 and str, dict and list have them.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <functional>
#include <map>

#include "text/jinja/interpreter.h"
#include "text/jinja/python_text.h"

namespace dynamo::text::jinja {
namespace {

bool is_blank(std::string_view character) {
  return (classes_of(character) & kSpace) != 0;
}

std::string strip(std::string_view text, const Value* chars, bool left, bool right) {
  std::vector<std::string_view> all = characters(text);
  const std::vector<std::string_view> set =
      chars && chars->string() ? characters(*chars->string()) : std::vector<std::string_view>();
  const auto goes = [&](std::string_view c) {
    return chars && chars->string() ? std::ranges::find(set, c) != set.end() : is_blank(c);
  };
  size_t first = 0;
  size_t last = all.size();
  while (left && first < last && goes(all[first])) ++first;
  while (right && last > first && goes(all[last - 1])) --last;
  std::string out;
  for (size_t i = first; i < last; ++i) out += all[i];
  return out;
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to, int64_t most) {
  std::string out;
  if (from.empty()) {
    for (const std::string_view c : characters(text)) {
      if (most-- != 0) out += to;
      out += c;
    }
    return most != 0 ? out + to : out;
  }
  size_t at = 0;
  for (size_t found; most-- != 0 && (found = text.find(from, at)) != std::string::npos; at = found + from.size()) {
    out.append(text, at, found - at);
    out += to;
  }
  return out.append(text, at);
}

List split_text(const std::string& text, const Value* separator, int64_t most, bool from_right) {
  List parts;
  if (separator && separator->string()) {
    const std::string& by = *separator->string();
    if (from_right) {
      size_t end = text.size();
      for (; most-- != 0;) {
        const size_t found = end >= by.size() ? text.rfind(by, end - by.size()) : std::string::npos;
        if (found == std::string::npos) break;
        parts.emplace_back(text.substr(found + by.size(), end - found - by.size()));
        end = found;
      }
      parts.emplace_back(text.substr(0, end));
      std::ranges::reverse(parts);
      return parts;
    }
    size_t at = 0;
    for (size_t found; most-- != 0 && (found = text.find(by, at)) != std::string::npos; at = found + by.size())
      parts.emplace_back(text.substr(at, found - at));
    parts.emplace_back(text.substr(at));
    return parts;
  }
  // By blanks: runs count as one, and none at the ends.
  std::vector<std::string_view> all = characters(text);
  if (from_right) std::ranges::reverse(all);
  const auto joined = [&](size_t first, size_t last) {
    std::string out;
    for (size_t i = first; i < last; ++i) out += all[from_right ? first + last - 1 - i : i];
    return out;
  };
  for (size_t i = 0; i < all.size();) {
    while (i < all.size() && is_blank(all[i])) ++i;
    if (i >= all.size()) break;
    size_t end = i;
    if (most-- == 0) {
      end = all.size();
      while (end > i && is_blank(all[end - 1])) --end;
      parts.emplace_back(joined(i, end));
      break;
    }
    while (end < all.size() && !is_blank(all[end])) ++end;
    parts.emplace_back(joined(i, end));
    i = end;
  }
  if (from_right) std::ranges::reverse(parts);
  return parts;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// printf-style formatting: %s %r %d %i %f %x %%, with flags, width and precision.
bool format_percent(Interpreter* self, const std::string& text, const Arguments& arguments, std::string* out) {
  size_t next = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      *out += text[i];
      continue;
    }
    if (++i < text.size() && text[i] == '%') {
      *out += '%';
      continue;
    }
    std::string flags;
    while (i < text.size() && std::string_view("-+ 0#").find(text[i]) != std::string_view::npos) flags += text[i++];
    size_t width = 0;
    while (i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) && width < 100000)
      width = width * 10 + (text[i++] - '0');
    int precision = -1;
    if (i < text.size() && text[i] == '.') {
      precision = 0;
      for (++i; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) && precision < 1000; ++i)
        precision = precision * 10 + (text[i] - '0');
    }
    if (i >= text.size()) return self->fail("incomplete format");
    if (next >= arguments.positional.size()) return self->fail("not enough arguments for format string");
    const Value& value = arguments.positional[next++];
    std::string piece;
    if (text[i] == 's' || text[i] == 'r') {
      piece = text[i] == 's' ? value.str() : value.repr();
      if (precision >= 0) {
        const auto all = characters(piece);
        std::string cut;
        for (size_t k = 0; k < std::min<size_t>(all.size(), precision); ++k) cut += all[k];
        piece = cut;
      }
    } else if (!value.is_number()) {
      return self->fail(fmt::format("%{} format: a number is required, not {}", text[i], value.type_name()));
    } else if (text[i] == 'd' || text[i] == 'i') {
      piece = std::to_string(value.as_int());
    } else if (text[i] == 'f') {
      piece = fmt::format("{:.{}f}", value.as_float(), precision < 0 ? 6 : precision);
    } else if (text[i] == 'x') {
      piece = fmt::format("{:x}", value.as_int());
    } else {
      return self->fail(fmt::format("unsupported format character '{}'", text[i]));
    }
    if (flags.find('+') != std::string::npos && text[i] != 's' && !piece.starts_with('-')) piece = "+" + piece;
    const size_t size = characters(piece).size();
    if (size < width) {
      if (!self->charge(width)) return false;
      const bool zeros = flags.find('0') != std::string::npos && text[i] != 's' && text[i] != 'r';
      const std::string pad(width - size, zeros ? '0' : ' ');
      if (flags.find('-') != std::string::npos) {
        piece += std::string(width - size, ' ');
      } else {
        piece = zeros && !piece.empty() && (piece[0] == '-' || piece[0] == '+') ? piece[0] + pad + piece.substr(1)
                                                                                : pad + piece;
      }
    }
    *out += piece;
  }
  return next < arguments.positional.size() ? self->fail("not all arguments converted during string formatting") : true;
}

int64_t int_or(const Value* value, int64_t otherwise) {
  return value && value->is_number() ? value->as_int() : otherwise;
}
bool flag_or(const Value* value, bool otherwise) {
  return value ? value->truth() : otherwise;
}

// --- methods ---

using Method = bool (*)(Interpreter*, const Value& object, const Arguments&, Value*);

template <bool kIsUpper>
bool method_case(Interpreter*, const Value& object, const Arguments&, Value* out) {
  *out = kIsUpper ? upper(*object.string()) : lower(*object.string());
  return true;
}
template <bool kLeft, bool kRight>
bool method_strip(Interpreter*, const Value& object, const Arguments& arguments, Value* out) {
  *out = strip(*object.string(), arguments.find(0, "chars"), kLeft, kRight);
  return true;
}
template <bool kRight>
bool method_split(Interpreter* self, const Value& object, const Arguments& arguments, Value* out) {
  const Value* separator = arguments.find(0, "sep");
  if (separator && separator->string() && separator->string()->empty()) return self->fail("empty separator");
  *out = Value::list(split_text(*object.string(), separator, int_or(arguments.find(1, "maxsplit"), -1), kRight));
  return self->charge(object.string()->size() + 48 * out->items()->size());
}
template <bool kEnd>
bool method_with(Interpreter* self, const Value& object, const Arguments& arguments, Value* out) {
  const Value* what = arguments.find(0, "prefix");
  if (!what) return self->fail("startswith and endswith take an argument");
  const auto fits = [&](const Value& one) {
    return one.string() &&
           (kEnd ? object.string()->ends_with(*one.string()) : object.string()->starts_with(*one.string()));
  };
  if (!what->string() && !(what->items() && what->is_tuple()))
    return self->fail("startswith and endswith take a str or a tuple of str");
  *out = what->items() ? std::ranges::any_of(*what->items(), fits) : fits(*what);
  return true;
}
bool method_replace(Interpreter* self, const Value& object, const Arguments& arguments, Value* out) {
  const Value* from = arguments.find(0, "old");
  const Value* to = arguments.find(1, "new");
  if (!from || !to || !from->string() || !to->string()) return self->fail("replace takes two str");
  const uint64_t most =
      object.string()->size() * (from->string()->empty() ? 1 : 1) * (to->string()->size() + 1) + to->string()->size();
  if (!self->charge(
          std::min<uint64_t>(most, object.string()->size() + to->string()->size() * (object.string()->size() + 1))))
    return false;
  *out = replaced(*object.string(), *from->string(), *to->string(), int_or(arguments.find(2, "count"), -1));
  return true;
}
bool method_splitlines(Interpreter*, const Value& object, const Arguments& arguments, Value* out) {
  const bool keeps = flag_or(arguments.find(0, "keepends"), false);
  const std::string& text = *object.string();
  List lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of("\n\r\v\f", at), text.size());
    const size_t size = text.compare(end, 2, "\r\n") == 0 ? 2 : end < text.size() ? 1 : 0;
    lines.emplace_back(text.substr(at, end - at + (keeps ? size : 0)));
    at = end + size;
  }
  *out = Value::list(std::move(lines));
  return true;
}
template <bool kRight, bool kMust>
bool method_find(Interpreter* self, const Value& object, const Arguments& arguments, Value* out) {
  const Value* what = arguments.find(0, "sub");
  if (!what || !what->string()) return self->fail("find and index take a str");
  const size_t found = kRight ? object.string()->rfind(*what->string()) : object.string()->find(*what->string());
  if (found == std::string::npos) {
    if (kMust) return self->fail("substring not found");
    *out = int64_t{-1};
  } else {
    *out = static_cast<int64_t>(characters(std::string_view(*object.string()).substr(0, found)).size());
  }
  return true;
}
bool method_count(Interpreter* self, const Value& object, const Arguments& arguments, Value* out) {
  const Value* what = arguments.find(0, "sub");
  if (!what) return self->fail("count takes an argument");
  if (object.items()) {
    *out = static_cast<int64_t>(std::ranges::count(*object.items(), *what));
    return true;
  }
  if (!what->string()) return self->fail("count takes a str");
  int64_t count = 0;
  if (what->string()->empty()) {
    count = static_cast<int64_t>(characters(*object.string()).size()) + 1;
  } else {
    for (size_t at = 0; (at = object.string()->find(*what->string(), at)) != std::string::npos;
         at += what->string()->size())
      ++count;
  }
  *out = count;
  return true;
}
bool method_join(Interpreter* self, const Value& object, const Arguments& arguments, Value* out) {
  const Value* what = arguments.find(0, "iterable");
  std::vector<Value> items;
  if (!what || !self->iterate(*what, &items)) return self->fail("join takes an iterable");
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].string())
      return self->fail(fmt::format("sequence item {}: expected str instance, {} found", i, items[i].type_name()));
    text += (i == 0 ? "" : *object.string()) + *items[i].string();
    if (!self->charge(items[i].string()->size() + object.string()->size())) return false;
  }
  *out = std::move(text);
  return true;
}
bool method_title(Interpreter*, const Value& object, const Arguments&, Value* out) {
  *out = title(*object.string());
  return true;
}
bool method_capitalize(Interpreter*, const Value& object, const Arguments&, Value* out) {
  *out = capitalize(*object.string());
  return true;
}
template <bool kEnd>
bool method_remove(Interpreter* self, const Value& object, const Arguments& arguments, Value* out) {
  const Value* what = arguments.find(0, "prefix");
  if (!what || !what->string()) return self->fail("removeprefix and removesuffix take a str");
  std::string text = *object.string();
  if (kEnd && text.ends_with(*what->string())) text.resize(text.size() - what->string()->size());
  if (!kEnd && text.starts_with(*what->string())) text.erase(0, what->string()->size());
  *out = std::move(text);
  return true;
}
template <class Test>
bool all_characters(const Value& object, Test test, Value* out) {
  const auto all = characters(*object.string());
  *out = !all.empty() && std::ranges::all_of(all, test);
  return true;
}
template <uint16_t kClasses>
bool is_of(std::string_view c) {
  return (classes_of(c) & kClasses) != 0;
}
bool method_isdigit(Interpreter*, const Value& object, const Arguments&, Value* out) {
  return all_characters(object, is_of<kDigit>, out);
}
bool method_isalpha(Interpreter*, const Value& object, const Arguments&, Value* out) {
  return all_characters(object, is_of<kAlpha>, out);
}
bool method_isalnum(Interpreter*, const Value& object, const Arguments&, Value* out) {
  return all_characters(object, is_of < kAlpha | kOtherAlnum >, out);
}
bool method_isspace(Interpreter*, const Value& object, const Arguments&, Value* out) {
  return all_characters(object, is_of<kSpace>, out);
}
template <bool kIsUpper>
bool method_iscase(Interpreter*, const Value& object, const Arguments&, Value* out) {
  *out = kIsUpper ? is_upper(*object.string()) : is_lower(*object.string());
  return true;
}
bool method_zfill(Interpreter* self, const Value& object, const Arguments& arguments, Value* out) {
  const auto width = static_cast<uint64_t>(std::max<int64_t>(0, int_or(arguments.find(0, "width"), 0)));
  std::string text = *object.string();
  const size_t size = characters(text).size();
  if (size < width) {
    if (!self->charge(width)) return false;
    text.insert(!text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0, width - size, '0');
  }
  *out = std::move(text);
  return true;
}
// str.format with {} {0} {name}, without format specifications.
bool method_format(Interpreter* self, const Value& object, const Arguments& arguments, Value* out) {
  const std::string& text = *object.string();
  std::string made;
  size_t next = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((text[i] == '{' || text[i] == '}') && i + 1 < text.size() && text[i + 1] == text[i]) {
      made += text[i++];
    } else if (text[i] == '{') {
      const size_t end = text.find('}', i);
      if (end == std::string::npos) return self->fail("expected '}' before end of string");
      const std::string field = text.substr(i + 1, end - i - 1);
      const bool is_index =
          !field.empty() && std::ranges::all_of(field, [](char c) { return c >= '0' && c <= '9'; }) && field.size() < 6;
      const Value* value = field.empty() ? arguments.find(next++, "")
                           : is_index    ? arguments.find(std::stoul(field), "")
                                         : arguments.find(SIZE_MAX, field);
      if (!value)
        return self->fail(fmt::format("format field '{{{}}}' has no value, or a form that is not supported", field));
      made += value->str();
      if (!self->charge(made.size())) return false;
      i = end;
    } else if (text[i] == '}') {
      return self->fail("single '}' encountered in format string");
    } else {
      made += text[i];
    }
  }
  *out = std::move(made);
  return true;
}

bool method_items(Interpreter* self, const Value& object, const Arguments&, Value* out) {
  List items;
  for (const auto& [key, value] : object.members()->items) items.push_back(Value::list({key, value}, true));
  *out = Value::list(std::move(items));
  return self->charge(out->items()->size() * 144);
}
bool method_keys(Interpreter* self, const Value& object, const Arguments&, Value* out) {
  std::vector<Value> keys;
  if (!self->iterate(object, &keys)) return false;
  *out = Value::list(std::move(keys));
  return true;
}
bool method_values(Interpreter* self, const Value& object, const Arguments&, Value* out) {
  List values;
  for (const auto& [key, value] : object.members()->items) values.push_back(value);
  *out = Value::list(std::move(values));
  return self->charge(out->items()->size() * 48);
}
bool method_get(Interpreter* self, const Value& object, const Arguments& arguments, Value* out) {
  const Value* key = arguments.find(0, "key");
  if (!key) return self->fail("get expected at least 1 argument, got 0");
  const Value* found = object.members()->find(*key);
  const Value* otherwise = arguments.find(1, "default");
  *out = found ? *found : otherwise ? *otherwise : Value();
  return true;
}
bool method_index(Interpreter* self, const Value& object, const Arguments& arguments, Value* out) {
  const Value* what = arguments.find(0, "value");
  const auto found = what ? std::ranges::find(*object.items(), *what) : object.items()->end();
  if (found == object.items()->end()) return self->fail("value is not in list");
  *out = static_cast<int64_t>(found - object.items()->begin());
  return true;
}
bool method_mutate(Interpreter* self, const Value&, const Arguments&, Value*) {
  return self->fail("access to a method that changes its object is unsafe");
}

const std::map<std::string, Method, std::less<>>& methods_of(const Value& object) {
  static const std::map<std::string, Method, std::less<>> kText = {{"upper", method_case<true>},
                                                                   {"lower", method_case<false>},
                                                                   {"casefold", method_case<false>},
                                                                   {"strip", method_strip<true, true>},
                                                                   {"lstrip", method_strip<true, false>},
                                                                   {"rstrip", method_strip<false, true>},
                                                                   {"split", method_split<false>},
                                                                   {"rsplit", method_split<true>},
                                                                   {"startswith", method_with<false>},
                                                                   {"endswith", method_with<true>},
                                                                   {"replace", method_replace},
                                                                   {"splitlines", method_splitlines},
                                                                   {"find", method_find<false, false>},
                                                                   {"rfind", method_find<true, false>},
                                                                   {"index", method_find<false, true>},
                                                                   {"rindex", method_find<true, true>},
                                                                   {"count", method_count},
                                                                   {"join", method_join},
                                                                   {"title", method_title},
                                                                   {"capitalize", method_capitalize},
                                                                   {"removeprefix", method_remove<false>},
                                                                   {"removesuffix", method_remove<true>},
                                                                   {"isdigit", method_isdigit},
                                                                   {"isdecimal", method_isdigit},
                                                                   {"isnumeric", method_isdigit},
                                                                   {"isalpha", method_isalpha},
                                                                   {"isalnum", method_isalnum},
                                                                   {"isspace", method_isspace},
                                                                   {"isupper", method_iscase<true>},
                                                                   {"islower", method_iscase<false>},
                                                                   {"zfill", method_zfill},
                                                                   {"format", method_format}};
  static const std::map<std::string, Method, std::less<>> kList = {
      {"index", method_index},   {"count", method_count}, {"append", method_mutate}, {"extend", method_mutate},
      {"insert", method_mutate}, {"pop", method_mutate},  {"remove", method_mutate}, {"reverse", method_mutate},
      {"sort", method_mutate},   {"clear", method_mutate}};
  static const std::map<std::string, Method, std::less<>> kDict = {
      {"items", method_items},    {"keys", method_keys},         {"values", method_values},
      {"get", method_get},        {"update", method_mutate},     {"pop", method_mutate},
      {"popitem", method_mutate}, {"setdefault", method_mutate}, {"clear", method_mutate}};
  static const std::map<std::string, Method, std::less<>> kNone;
  if (object.string()) return kText;
  if (object.items()) return kList;
  return object.members() && !object.is_namespace() ? kDict : kNone;
}

// --- filters ---

using Filter = bool (*)(Interpreter*, const Value& input, const Arguments&, Value*);

// Python's attribute paths of map, sort and groupby: "a.b.0".
bool value_at(Interpreter* self, const Value& object, const std::string& path, Value* out) {
  *out = object;
  for (size_t at = 0; at <= path.size();) {
    const size_t dot = std::min(path.find('.', at), path.size());
    const std::string part = path.substr(at, dot - at);
    const bool is_index =
        !part.empty() && part.size() < 10 && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
    const Value from = *out;
    if (!self->item(from, is_index ? Value(static_cast<int64_t>(std::stol(part))) : Value(part), out)) return false;
    at = dot + 1;
  }
  return true;
}

bool filter_tojson(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
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
  if (!self->charge(text.size())) return false;
  *out = std::move(text);
  return true;
}

bool filter_default(Interpreter*, const Value& input, const Arguments& arguments, Value* out) {
  const Value* otherwise = arguments.find(0, "default_value");
  const bool is_used = input.is_undefined() || (flag_or(arguments.find(1, "boolean"), false) && !input.truth());
  *out = is_used ? (otherwise ? *otherwise : Value("")) : input;
  return true;
}

bool filter_length(Interpreter* self, const Value& input, const Arguments&, Value* out) {
  if (input.is_undefined()) {
    *out = int64_t{0};
  } else if (input.string()) {
    *out = static_cast<int64_t>(characters(*input.string()).size());
  } else if (input.items()) {
    *out = static_cast<int64_t>(input.items()->size());
  } else if (input.members()) {
    *out = static_cast<int64_t>(input.members()->items.size());
  } else {
    return self->fail(fmt::format("object of type '{}' has no len()", input.type_name()));
  }
  return true;
}

template <bool kLast>
bool filter_end(Interpreter* self, const Value& input, const Arguments&, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  *out = items.empty() ? Value::undefined("No first or last item, sequence was empty.")
         : kLast       ? items.back()
                       : items.front();
  return true;
}

bool filter_join(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  const Value* by = arguments.find(0, "d");
  const Value* attribute = arguments.find(1, "attribute");
  const std::string separator = by ? by->str() : "";
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    Value item = items[i];
    if (attribute && !value_at(self, items[i], attribute->str(), &item)) return false;
    const std::string piece = item.str();
    if (!self->charge(piece.size() + separator.size())) return false;
    text += (i == 0 ? "" : separator) + piece;
  }
  *out = std::move(text);
  return true;
}

template <class Make>
bool text_filter(Interpreter* self, const Value& input, Value* out, Make make) {
  const std::string text = input.str();
  if (!self->charge(text.size())) return false;
  *out = make(text);
  return true;
}

bool filter_list(Interpreter* self, const Value& input, const Arguments&, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  *out = Value::list(std::move(items));
  return true;
}

bool filter_int(Interpreter*, const Value& input, const Arguments& arguments, Value* out) {
  const Value* otherwise = arguments.find(0, "default");
  *out = otherwise ? *otherwise : Value(int64_t{0});
  if (input.is_number()) *out = input.as_int();
  if (!input.string()) return true;
  const std::string text = strip(*input.string(), nullptr, true, true);
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  int64_t number = 0;
  const auto whole = std::from_chars(begin, text.data() + text.size(), number);
  if (whole.ec == std::errc() && whole.ptr == text.data() + text.size()) {
    *out = number;
    return true;
  }
  double decimal = 0;
  const auto part = std::from_chars(begin, text.data() + text.size(), decimal);
  if (part.ec == std::errc() && part.ptr == text.data() + text.size() && std::fabs(decimal) < 9e18)
    *out = static_cast<int64_t>(decimal);
  return true;
}

bool filter_float(Interpreter*, const Value& input, const Arguments& arguments, Value* out) {
  const Value* otherwise = arguments.find(0, "default");
  *out = otherwise ? *otherwise : Value(0.0);
  if (input.is_number()) *out = input.as_float();
  if (!input.string()) return true;
  const std::string text = strip(*input.string(), nullptr, true, true);
  double number = 0;
  const auto end = std::from_chars(text.data() + (text.starts_with('+') ? 1 : 0), text.data() + text.size(), number);
  if (end.ec == std::errc() && end.ptr == text.data() + text.size()) *out = number;
  return true;
}

bool filter_abs(Interpreter* self, const Value& input, const Arguments&, Value* out) {
  if (!input.is_number()) return self->fail(fmt::format("bad operand type for abs(): '{}'", input.type_name()));
  *out = input.is_float() ? Value(std::fabs(input.as_float()))
                          : Value(input.as_int() < 0 ? -input.as_int() : input.as_int());
  return true;
}

bool filter_round(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  if (!input.is_number()) return self->fail(fmt::format("type {} doesn't define __round__ method", input.type_name()));
  const int64_t digits = std::clamp<int64_t>(int_or(arguments.find(0, "precision"), 0), -300, 300);
  const Value* method = arguments.find(1, "method");
  const std::string how = method ? method->str() : "common";
  const double scale = std::pow(10.0, static_cast<double>(digits));
  if (how == "common") {
    // Python rounds the exact decimal value: printing does the same.
    *out = digits >= 0 ? std::stod(fmt::format("{:.{}f}", input.as_float(), digits))
                       : std::nearbyint(input.as_float() * scale) / scale;
  } else if (how == "ceil" || how == "floor") {
    *out = (how == "ceil" ? std::ceil(input.as_float() * scale) : std::floor(input.as_float() * scale)) / scale;
  } else {
    return self->fail("method must be common, ceil or floor");
  }
  return true;
}

bool filter_reverse(Interpreter* self, const Value& input, const Arguments&, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  std::ranges::reverse(items);
  if (!input.string()) {
    *out = Value::list(std::move(items));
    return true;
  }
  std::string text;
  for (const Value& item : items) text += *item.string();
  *out = std::move(text);
  return true;
}

Value without_case(const Value& value) {
  return value.string() ? Value(lower(*value.string())) : value;
}

// Sorts by key(item); false when two keys do not compare.
bool sort_by(Interpreter* self, std::vector<std::pair<Value, Value>>* keyed, bool is_reverse) {
  bool can = true;
  std::stable_sort(keyed->begin(), keyed->end(), [&](const auto& a, const auto& b) {
    bool one = true;
    const bool before = is_reverse ? less(b.first, a.first, &one) : less(a.first, b.first, &one);
    can &= one;
    return one && before;
  });
  return can ? true : self->fail("these values do not compare");
}

bool filter_sort(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  const bool keeps_case = flag_or(arguments.find(1, "case_sensitive"), false);
  const Value* attribute = arguments.find(2, "attribute");
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items) {
    Value key = item;
    if (attribute && !attribute->is_none() && !value_at(self, item, attribute->str(), &key)) return false;
    keyed.emplace_back(keeps_case ? key : without_case(key), item);
  }
  if (!sort_by(self, &keyed, flag_or(arguments.find(0, "reverse"), false))) return false;
  List sorted;
  for (auto& [key, item] : keyed) sorted.push_back(std::move(item));
  *out = Value::list(std::move(sorted));
  return true;
}

bool filter_dictsort(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  if (!input.members()) return self->fail("dictsort takes a dict");
  const Value* by = arguments.find(1, "by");
  const bool by_value = by && by->str() == "value";
  const bool keeps_case = flag_or(arguments.find(0, "case_sensitive"), false);
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : input.members()->items) {
    const Value& one = by_value ? value : key;
    keyed.emplace_back(keeps_case ? one : without_case(one), Value::list({key, value}, true));
  }
  if (!sort_by(self, &keyed, flag_or(arguments.find(2, "reverse"), false))) return false;
  List sorted;
  for (auto& [key, item] : keyed) sorted.push_back(std::move(item));
  *out = Value::list(std::move(sorted));
  return true;
}

bool filter_unique(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  const bool keeps_case = flag_or(arguments.find(0, "case_sensitive"), false);
  List kept;
  std::vector<Value> seen;
  for (const Value& item : items) {
    const Value key = keeps_case ? item : without_case(item);
    if (std::ranges::find(seen, key) != seen.end()) continue;
    if (!self->step()) return false;
    seen.push_back(key);
    kept.push_back(item);
  }
  *out = Value::list(std::move(kept));
  return true;
}

Arguments tail_of(const Arguments& arguments, size_t first) {
  Arguments rest;
  for (size_t i = first; i < arguments.positional.size(); ++i) rest.positional.push_back(arguments.positional[i]);
  return rest;
}

bool filter_map(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  const Value* attribute = arguments.find(SIZE_MAX, "attribute");
  const Value* otherwise = arguments.find(SIZE_MAX, "default");
  if (!attribute && arguments.positional.empty()) return self->fail("map requires a filter argument");
  List mapped;
  for (const Value& item : items) {
    Value one;
    if (attribute) {
      if (!value_at(self, item, attribute->str(), &one)) return false;
      if (one.is_undefined() && otherwise) one = *otherwise;
    } else if (!self->filter(arguments.positional[0].str(), item, tail_of(arguments, 1), &one)) {
      return false;
    }
    mapped.push_back(std::move(one));
  }
  *out = Value::list(std::move(mapped));
  return true;
}

// select, reject, selectattr, rejectattr.
template <bool kKeeps, bool kAttribute>
bool filter_select(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  constexpr size_t kTest = kAttribute ? 1 : 0;
  if (kAttribute && arguments.positional.empty()) return self->fail("Missing parameter for attribute name");
  List kept;
  for (const Value& item : items) {
    Value subject = item;
    if (kAttribute && !value_at(self, item, arguments.positional[0].str(), &subject)) return false;
    bool is_chosen = subject.truth();
    if (arguments.positional.size() > kTest &&
        !self->test(arguments.positional[kTest].str(), subject, tail_of(arguments, kTest + 1), &is_chosen)) {
      return false;
    }
    if (is_chosen == kKeeps) kept.push_back(item);
  }
  *out = Value::list(std::move(kept));
  return true;
}

bool filter_items(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  if (input.is_undefined()) {
    *out = Value::list({});
    return true;
  }
  return input.members() ? method_items(self, input, arguments, out)
                         : self->fail("Can only get item pairs from a mapping.");
}

bool filter_batch(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  const int64_t size = int_or(arguments.find(0, "linecount"), 0);
  const Value* fill = arguments.find(1, "fill_with");
  if (size < 1 || size > 100000) return self->fail("batch takes a count above 0");
  List rows;
  for (size_t i = 0; i < items.size(); i += static_cast<size_t>(size)) {
    List row(items.begin() + static_cast<std::ptrdiff_t>(i),
             items.begin() + static_cast<std::ptrdiff_t>(std::min(items.size(), i + size)));
    while (fill && !fill->is_none() && row.size() < static_cast<size_t>(size)) row.push_back(*fill);
    rows.push_back(Value::list(std::move(row)));
  }
  *out = Value::list(std::move(rows));
  return true;
}

bool filter_slice(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  const int64_t count = int_or(arguments.find(0, "slices"), 0);
  const Value* fill = arguments.find(1, "fill_with");
  if (count < 1 || count > 100000) return self->fail("slice takes a count above 0");
  const size_t each = items.size() / count;
  const size_t longer = items.size() % count;
  List slices;
  size_t at = 0;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const size_t size = each + (i < longer ? 1 : 0);
    List part(items.begin() + static_cast<std::ptrdiff_t>(at), items.begin() + static_cast<std::ptrdiff_t>(at + size));
    at += size;
    if (fill && !fill->is_none() && i >= longer) part.push_back(*fill);
    slices.push_back(Value::list(std::move(part)));
  }
  *out = Value::list(std::move(slices));
  return true;
}

bool filter_sum(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  const Value* attribute = arguments.find(0, "attribute");
  bool is_float = false;
  int64_t whole = 0;
  double total = 0;
  for (const Value& item : items) {
    Value one = item;
    if (attribute && !attribute->is_none() && !value_at(self, item, attribute->str(), &one)) return false;
    if (!one.is_number())
      return self->fail(fmt::format("unsupported operand type(s) for +: 'int' and '{}'", one.type_name()));
    is_float |= one.is_float();
    if (!one.is_float() && __builtin_add_overflow(whole, one.as_int(), &whole))
      return self->fail("an integer beyond 64 bits");
    total += one.as_float();
  }
  *out = is_float ? Value(total) : Value(whole);
  return true;
}

template <bool kMost>
bool filter_extreme(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  std::vector<Value> items;
  if (!self->iterate(input, &items)) return false;
  const Value* attribute = arguments.find(1, "attribute");
  const bool keeps_case = flag_or(arguments.find(0, "case_sensitive"), false);
  *out = Value::undefined("No aggregated item, sequence was empty.");
  Value best;
  for (size_t i = 0; i < items.size(); ++i) {
    Value key = items[i];
    if (attribute && !value_at(self, items[i], attribute->str(), &key)) return false;
    if (!keeps_case) key = without_case(key);
    bool can = true;
    if (i > 0 && !(kMost ? less(best, key, &can) : less(key, best, &can))) {
      if (!can) return self->fail("these values do not compare");
      continue;
    }
    best = key;
    *out = items[i];
  }
  return true;
}

bool filter_indent(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
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
    if (!self->charge(line.size() + pad.size())) return false;
    if (end < text.size()) made += '\n';
    is_first = false;
    at = end + 1;
  }
  *out = std::move(made);
  return true;
}

bool filter_center(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  const std::string text = input.str();
  const auto width = static_cast<uint64_t>(std::max<int64_t>(0, int_or(arguments.find(0, "width"), 80)));
  const size_t size = characters(text).size();
  if (width <= size) {
    *out = text;
    return true;
  }
  if (!self->charge(width)) return false;
  const uint64_t pad = width - size;
  const uint64_t left = pad / 2 + (pad & width & 1);
  *out = std::string(left, ' ') + text + std::string(pad - left, ' ');
  return true;
}

bool filter_groupby(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  std::vector<Value> items;
  const Value* attribute = arguments.find(0, "attribute");
  if (!attribute) return self->fail("groupby takes an attribute");
  if (!self->iterate(input, &items)) return false;
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items) {
    Value key;
    if (!value_at(self, item, attribute->str(), &key)) return false;
    keyed.emplace_back(without_case(key), Value::list({key, item}, true));
  }
  if (!sort_by(self, &keyed, false)) return false;
  List groups;
  for (size_t i = 0; i < keyed.size();) {
    List members;
    const Value grouper = (*keyed[i].second.items())[0];
    const Value same = keyed[i].first;
    for (; i < keyed.size() && keyed[i].first == same; ++i) members.push_back((*keyed[i].second.items())[1]);
    groups.push_back(Value::list({grouper, Value::list(std::move(members))}, true));
  }
  *out = Value::list(std::move(groups));
  return true;
}

bool filter_replace(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  return method_replace(self, Value(input.str()), arguments, out);
}
bool filter_format(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  std::string text;
  if (!format_percent(self, input.str(), arguments, &text)) return false;
  *out = std::move(text);
  return self->charge(out->string()->size());
}
bool filter_string(Interpreter* self, const Value& input, const Arguments&, Value* out) {
  return text_filter(self, input, out, [](const std::string& text) { return text; });
}
bool filter_trim(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  return text_filter(self, input, out,
                     [&](const std::string& text) { return strip(text, arguments.find(0, "chars"), true, true); });
}
template <bool kIsUpper>
bool filter_case(Interpreter* self, const Value& input, const Arguments&, Value* out) {
  return text_filter(self, input, out, [](const std::string& text) { return kIsUpper ? upper(text) : lower(text); });
}
bool filter_capitalize(Interpreter* self, const Value& input, const Arguments&, Value* out) {
  return text_filter(self, input, out, [](const std::string& text) { return capitalize(text); });
}
bool filter_title(Interpreter* self, const Value& input, const Arguments&, Value* out) {
  return text_filter(self, input, out, [](const std::string& text) { return title_words(text); });
}
bool filter_escape(Interpreter* self, const Value& input, const Arguments&, Value* out) {
  return text_filter(self, input, out, [](const std::string& text) { return escaped(text); });
}
bool filter_wordcount(Interpreter*, const Value& input, const Arguments&, Value* out) {
  *out = static_cast<int64_t>(split_text(input.str(), nullptr, -1, false).size());
  return true;
}
bool filter_attr(Interpreter* self, const Value& input, const Arguments& arguments, Value* out) {
  const Value* name = arguments.find(0, "name");
  if (!name) return self->fail("attr takes a name");
  // Unlike a dot, `attr` never looks into a dict.
  if (input.members() && !input.is_namespace() && !methods_of(input).contains(name->str())) {
    *out = Value::undefined(name->str());
    return true;
  }
  return self->attribute(input, name->str(), out);
}

const std::map<std::string, Filter, std::less<>>& filters() {
  static const std::map<std::string, Filter, std::less<>> kFilters = {{"tojson", filter_tojson},
                                                                      {"trim", filter_trim},
                                                                      {"upper", filter_case<true>},
                                                                      {"lower", filter_case<false>},
                                                                      {"capitalize", filter_capitalize},
                                                                      {"title", filter_title},
                                                                      {"replace", filter_replace},
                                                                      {"join", filter_join},
                                                                      {"length", filter_length},
                                                                      {"count", filter_length},
                                                                      {"first", filter_end<false>},
                                                                      {"last", filter_end<true>},
                                                                      {"default", filter_default},
                                                                      {"d", filter_default},
                                                                      {"list", filter_list},
                                                                      {"string", filter_string},
                                                                      {"int", filter_int},
                                                                      {"float", filter_float},
                                                                      {"abs", filter_abs},
                                                                      {"round", filter_round},
                                                                      {"reverse", filter_reverse},
                                                                      {"sort", filter_sort},
                                                                      {"unique", filter_unique},
                                                                      {"map", filter_map},
                                                                      {"select", filter_select<true, false>},
                                                                      {"reject", filter_select<false, false>},
                                                                      {"selectattr", filter_select<true, true>},
                                                                      {"rejectattr", filter_select<false, true>},
                                                                      {"items", filter_items},
                                                                      {"dictsort", filter_dictsort},
                                                                      {"batch", filter_batch},
                                                                      {"slice", filter_slice},
                                                                      {"sum", filter_sum},
                                                                      {"min", filter_extreme<false>},
                                                                      {"max", filter_extreme<true>},
                                                                      {"indent", filter_indent},
                                                                      {"safe", filter_string},
                                                                      {"e", filter_escape},
                                                                      {"escape", filter_escape},
                                                                      {"wordcount", filter_wordcount},
                                                                      {"format", filter_format},
                                                                      {"center", filter_center},
                                                                      {"groupby", filter_groupby},
                                                                      {"attr", filter_attr}};
  return kFilters;
}

// --- tests ---

bool divides(Interpreter* self, const Value& input, const Value& by, bool* out) {
  if (!input.is_number() || !by.is_number()) return self->fail("divisibleby takes numbers");
  if (by.as_int() == 0) return self->fail("integer modulo by zero");
  *out = by.as_int() == -1 || input.as_int() % by.as_int() == 0;
  return true;
}

std::string strftime_text(std::chrono::system_clock::time_point now, const std::string& format) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  localtime_r(&seconds, &parts);
  std::string out;
  // One directive at a time: strftime cannot tell an empty result from a buffer too small.
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      out += format[i];
      continue;
    }
    size_t end = i + 1;
    if (format[end] == '-' && end + 1 < format.size()) ++end;
    const std::string directive = format.substr(i, end + 1 - i);
    char buffer[128];
    out.append(buffer, std::strftime(buffer, sizeof(buffer), directive.c_str(), &parts));
    i = end;
  }
  return out;
}

}  // namespace

bool Interpreter::attribute(const Value& object, const std::string& name, Value* out) {
  if (!refuse_undefined(object)) return false;
  if (name.starts_with("__")) {
    *out = Value::undefined(fmt::format("access to attribute {} of {} object is unsafe", name, object.type_name()));
    return true;
  }
  const auto& methods = methods_of(object);
  if (const auto found = methods.find(name); found != methods.end()) {
    *out = Value::callable(
        {name, [object, method = found->second](Interpreter* self, const Arguments& arguments, Value* result) {
           return method(self, object, arguments, result);
         }});
    return true;
  }
  if (const Dict* dict = object.members()) {
    if (const Value* found = dict->find(name)) {
      *out = *found;
      return true;
    }
  }
  *out = Value::undefined(fmt::format("{} object has no attribute {}", object.type_name(), name));
  return true;
}

bool Interpreter::filter(const std::string& name, const Value& input, const Arguments& arguments, Value* out) {
  if (!step()) return false;
  const auto found = filters().find(name);
  if (found == filters().end()) return fail(fmt::format("No filter named '{}'.", name));
  return found->second(this, input, arguments, out);
}

bool Interpreter::test(const std::string& name, const Value& input, const Arguments& arguments, bool* out) {
  static const std::map<std::string, bool (*)(const Value&), std::less<>> kTests = {
      {"defined", [](const Value& v) { return !v.is_undefined(); }},
      {"undefined", [](const Value& v) { return v.is_undefined(); }},
      {"none", [](const Value& v) { return v.is_none(); }},
      {"string", [](const Value& v) { return v.string() != nullptr; }},
      {"number", [](const Value& v) { return v.is_number(); }},
      {"integer", [](const Value& v) { return v.is_int(); }},
      {"float", [](const Value& v) { return v.is_float(); }},
      {"boolean", [](const Value& v) { return v.is_bool(); }},
      {"mapping", [](const Value& v) { return v.members() != nullptr && !v.is_namespace(); }},
      {"sequence",
       [](const Value& v) {
         return v.string() || v.items() || (v.members() && !v.is_namespace()) || v.is_undefined();
       }},
      {"iterable",
       [](const Value& v) {
         return v.string() || v.items() || (v.members() && !v.is_namespace()) || v.is_undefined();
       }},
      {"callable", [](const Value& v) { return v.callable() != nullptr; }},
      {"true", [](const Value& v) { return v.is_bool() && v.truth(); }},
      {"false", [](const Value& v) { return v.is_bool() && !v.truth(); }},
      {"escaped", [](const Value&) { return false; }},
      {"upper", [](const Value& v) { return is_upper(v.str()); }},
      {"lower", [](const Value& v) { return is_lower(v.str()); }},
      {"filter", [](const Value& v) { return v.string() && filters().contains(*v.string()); }},
  };
  static const std::map<std::string, const char*, std::less<>> kComparisons = {
      {"eq", "=="},      {"equalto", "=="}, {"==", "=="}, {"ne", "!="}, {"!=", "!="}, {"lt", "<"},
      {"lessthan", "<"}, {"<", "<"},        {"le", "<="}, {"<=", "<="}, {"gt", ">"},  {"greaterthan", ">"},
      {">", ">"},        {"ge", ">="},      {">=", ">="}, {"in", "in"}};
  if (!step()) return false;
  if (name == "odd" || name == "even") {
    if (!refuse_undefined(input)) return false;
    if (!input.is_number()) return fail(fmt::format("'{}' takes a number", name));
    *out = (input.as_int() % 2 != 0) == (name == "odd");
    return true;
  }
  if (const auto found = kTests.find(name); found != kTests.end()) {
    *out = found->second(input);
    return true;
  }
  const Value* argument = arguments.find(0, "other");
  if (const auto found = kComparisons.find(name); found != kComparisons.end()) {
    return argument ? compare(found->second, input, *argument, out)
                    : fail(fmt::format("the test '{}' takes an argument", name));
  }
  if (name == "divisibleby")
    return argument ? divides(this, input, *argument, out) : fail("divisibleby takes a number");
  if (name == "sameas") {
    *out = argument && input.data().index() == argument->data().index() && input == *argument;
    return true;
  }
  return fail(fmt::format("No test named '{}'.", name));
}

std::vector<std::pair<std::string, Value>> global_functions() {
  const auto function = [](const char* name, bool (*call)(Interpreter*, const Arguments&, Value*)) {
    return std::pair<std::string, Value>(name, Value::callable({name, call}));
  };
  return {function("range",
                   [](Interpreter* self, const Arguments& arguments, Value* out) {
                     const auto& given = arguments.positional;
                     if (given.empty() || given.size() > 3 ||
                         !std::ranges::all_of(given, [](const Value& v) { return v.is_number() && !v.is_float(); })) {
                       return self->fail("range takes one to three integers");
                     }
                     const int64_t first = given.size() > 1 ? given[0].as_int() : 0;
                     const int64_t last = given.size() > 1 ? given[1].as_int() : given[0].as_int();
                     const int64_t by = given.size() > 2 ? given[2].as_int() : 1;
                     if (by == 0) return self->fail("range() arg 3 must not be zero");
                     const double count =
                         std::ceil((static_cast<double>(last) - static_cast<double>(first)) / static_cast<double>(by));
                     if (count > 100000)
                       return self->fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
                     List items;
                     for (int64_t i = 0; i < static_cast<int64_t>(count); ++i) items.emplace_back(first + i * by);
                     if (!self->charge(items.size() * 48)) return false;
                     *out = Value::list(std::move(items));
                     return true;
                   }),
          function("namespace",
                   [](Interpreter*, const Arguments& arguments, Value* out) {
                     Dict members;
                     if (!arguments.positional.empty() && arguments.positional[0].members())
                       members = *arguments.positional[0].members();
                     for (const auto& [key, value] : arguments.named) members.set(key, value);
                     *out = Value::name_space(std::move(members));
                     return true;
                   }),
          function("dict",
                   [](Interpreter*, const Arguments& arguments, Value* out) {
                     Dict members;
                     if (!arguments.positional.empty() && arguments.positional[0].members())
                       members = *arguments.positional[0].members();
                     for (const auto& [key, value] : arguments.named) members.set(key, value);
                     *out = Value::dict(std::move(members));
                     return true;
                   }),
          function("joiner",
                   [](Interpreter*, const Arguments& arguments, Value* out) {
                     const Value* by = arguments.find(0, "sep");
                     auto is_used = std::make_shared<bool>(false);
                     *out = Value::callable({"joiner", [is_used, text = by ? *by : Value(", ")](
                                                           Interpreter*, const Arguments&, Value* result) {
                                               *result = std::exchange(*is_used, true) ? text : Value("");
                                               return true;
                                             }});
                     return true;
                   }),
          function("cycler",
                   [](Interpreter* self, const Arguments& arguments, Value* out) {
                     if (arguments.positional.empty()) return self->fail("at least one item has to be provided");
                     auto next = std::make_shared<size_t>(0);
                     Dict members;
                     members.set("next", Value::callable({"next", [next, items = arguments.positional](
                                                                      Interpreter*, const Arguments&, Value* result) {
                                                            *result = items[(*next)++ % items.size()];
                                                            return true;
                                                          }}));
                     members.set("reset",
                                 Value::callable({"reset", [next](Interpreter*, const Arguments&, Value* result) {
                                                    *next = 0;
                                                    *result = Value();
                                                    return true;
                                                  }}));
                     *out = Value::name_space(std::move(members));
                     return true;
                   }),
          function("raise_exception",
                   [](Interpreter* self, const Arguments& arguments, Value*) {
                     const Value* message = arguments.find(0, "message");
                     return self->fail(message ? message->str() : "the template raised an exception");
                   }),
          function("strftime_now", [](Interpreter* self, const Arguments& arguments, Value* out) {
            const Value* format = arguments.find(0, "format");
            if (!format || !format->string()) return self->fail("strftime_now takes a format");
            *out = strftime_text(self->now(), *format->string());
            return true;
          })};
}

}  // namespace dynamo::text::jinja
