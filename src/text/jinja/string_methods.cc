// The methods of str, as Python has them.
#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/python_text.h"

namespace dynamo::text::jinja {
namespace {

bool is_blank(std::string_view character) {
  return (classes_of(character) & kSpace) != 0;
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

}  // namespace

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

Result<Value> method_replace(Interpreter* self, const Value& object, const Arguments& arguments) {
  const Value* from = arguments.find(0, "old");
  const Value* to = arguments.find(1, "new");
  if (!from || !to || !from->string() || !to->string()) return self->fail("replace takes two str");
  TRY_STATUS(self->charge(object.string()->size() + to->string()->size() * (object.string()->size() + 1)));
  return Value(replaced(*object.string(), *from->string(), *to->string(), int_or(arguments.find(2, "count"), -1)));
}

namespace {

// A method that needs only the text: kFunction(text).
template <auto kFunction>
Result<Value> of_text(Interpreter*, const Value& object, const Arguments&) {
  return Value(kFunction(*object.string()));
}
template <int kClasses>
bool are_all(std::string_view text) {
  const auto all = characters(text);
  return !all.empty() && std::ranges::all_of(all, [](auto c) { return (classes_of(c) & kClasses) != 0; });
}
template <bool kLeft, bool kRight>
Result<Value> method_strip(Interpreter*, const Value& object, const Arguments& arguments) {
  return Value(strip(*object.string(), arguments.find(0, "chars"), kLeft, kRight));
}
template <bool kRight>
Result<Value> method_split(Interpreter* self, const Value& object, const Arguments& arguments) {
  const Value* separator = arguments.find(0, "sep");
  if (separator && separator->string() && separator->string()->empty()) return self->fail("empty separator");
  List parts = split_text(*object.string(), separator, int_or(arguments.find(1, "maxsplit"), -1), kRight);
  TRY_STATUS(self->charge(object.string()->size() + 48 * parts.size()));
  return Value::list(std::move(parts));
}
template <bool kEnd>
Result<Value> method_with(Interpreter* self, const Value& object, const Arguments& arguments) {
  const Value* what = arguments.find(0, "prefix");
  if (!what) return self->fail("startswith and endswith take an argument");
  const auto fits = [&](const Value& end) {
    return end.string() &&
           (kEnd ? object.string()->ends_with(*end.string()) : object.string()->starts_with(*end.string()));
  };
  if (!what->string() && !(what->items() && what->is_tuple()))
    return self->fail("startswith and endswith take a str or a tuple of str");
  return Value(what->items() ? std::ranges::any_of(*what->items(), fits) : fits(*what));
}
Result<Value> method_splitlines(Interpreter*, const Value& object, const Arguments& arguments) {
  const bool keeps = flag_or(arguments.find(0, "keepends"), false);
  const std::string& text = *object.string();
  List lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of("\n\r\v\f", at), text.size());
    const size_t size = text.compare(end, 2, "\r\n") == 0 ? 2 : end < text.size() ? 1 : 0;
    lines.emplace_back(text.substr(at, end - at + (keeps ? size : 0)));
    at = end + size;
  }
  return Value::list(std::move(lines));
}
template <bool kRight, bool kMust>
Result<Value> method_find(Interpreter* self, const Value& object, const Arguments& arguments) {
  const Value* what = arguments.find(0, "sub");
  if (!what || !what->string()) return self->fail("find and index take a str");
  const size_t found = kRight ? object.string()->rfind(*what->string()) : object.string()->find(*what->string());
  if (found == std::string::npos && kMust) return self->fail("substring not found");
  if (found == std::string::npos) return Value(int64_t{-1});
  return Value(static_cast<int64_t>(characters(std::string_view(*object.string()).substr(0, found)).size()));
}
Result<Value> method_count(Interpreter* self, const Value& object, const Arguments& arguments) {
  const Value* what = arguments.find(0, "sub");
  if (!what) return self->fail("count takes an argument");
  if (!what->string()) return self->fail("count takes a str");
  const std::string& text = *object.string();
  const std::string& part = *what->string();
  if (part.empty()) return Value(static_cast<int64_t>(characters(text).size()) + 1);
  int64_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return Value(count);
}
Result<Value> method_join(Interpreter* self, const Value& object, const Arguments& arguments) {
  const Value* what = arguments.find(0, "iterable");
  if (!what) return self->fail("join takes an iterable");
  TRY(const List items, self->iterate(*what));
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].string())
      return self->fail(fmt::format("sequence item {}: expected str instance, {} found", i, items[i].type_name()));
    text += (i == 0 ? "" : *object.string()) + *items[i].string();
    TRY_STATUS(self->charge(items[i].string()->size() + object.string()->size()));
  }
  return Value(std::move(text));
}
template <bool kEnd>
Result<Value> method_remove(Interpreter* self, const Value& object, const Arguments& arguments) {
  const Value* what = arguments.find(0, "prefix");
  if (!what || !what->string()) return self->fail("removeprefix and removesuffix take a str");
  std::string text = *object.string();
  if (kEnd && text.ends_with(*what->string())) text.resize(text.size() - what->string()->size());
  if (!kEnd && text.starts_with(*what->string())) text.erase(0, what->string()->size());
  return Value(std::move(text));
}
Result<Value> method_zfill(Interpreter* self, const Value& object, const Arguments& arguments) {
  const auto width = static_cast<uint64_t>(std::max<int64_t>(0, int_or(arguments.find(0, "width"), 0)));
  std::string text = *object.string();
  const size_t size = characters(text).size();
  if (size < width) {
    TRY_STATUS(self->charge(width));
    text.insert(!text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0, width - size, '0');
  }
  return Value(std::move(text));
}
// str.format with {} {0} {name}, without format specifications.
Result<Value> method_format(Interpreter* self, const Value& object, const Arguments& arguments) {
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
      TRY_STATUS(self->charge(made.size()));
      i = end;
    } else if (text[i] == '}') {
      return self->fail("single '}' encountered in format string");
    } else {
      made += text[i];
    }
  }
  return Value(std::move(made));
}

}  // namespace

const Builtins& string_methods() {
  static const Builtins kMethods = {{"upper", of_text<upper>},
                                    {"lower", of_text<lower>},
                                    {"casefold", of_text<lower>},
                                    {"title", of_text<title>},
                                    {"capitalize", of_text<capitalize>},
                                    {"isupper", of_text<is_upper>},
                                    {"islower", of_text<is_lower>},
                                    {"isdigit", of_text<are_all<kDigit>>},
                                    {"isdecimal", of_text<are_all<kDigit>>},
                                    {"isnumeric", of_text<are_all<kDigit>>},
                                    {"isalpha", of_text<are_all<kAlpha>>},
                                    {"isalnum", of_text<are_all<(kAlpha | kOtherAlnum)>>},
                                    {"isspace", of_text<are_all<kSpace>>},
                                    {"strip", method_strip<true, true>},
                                    {"lstrip", method_strip<true, false>},
                                    {"rstrip", method_strip<false, true>},
                                    {"split", method_split<false>},
                                    {"rsplit", method_split<true>},
                                    {"splitlines", method_splitlines},
                                    {"startswith", method_with<false>},
                                    {"endswith", method_with<true>},
                                    {"removeprefix", method_remove<false>},
                                    {"removesuffix", method_remove<true>},
                                    {"replace", method_replace},
                                    {"find", method_find<false, false>},
                                    {"rfind", method_find<true, false>},
                                    {"index", method_find<false, true>},
                                    {"rindex", method_find<true, true>},
                                    {"count", method_count},
                                    {"join", method_join},
                                    {"zfill", method_zfill},
                                    {"format", method_format}};
  return kMethods;
}

}  // namespace dynamo::text::jinja
