// Filters of lists and dicts, as Python's jinja2 has them.
#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/python_text.h"

namespace dynamo::text::jinja {
namespace {

// Python's attribute paths of map, sort and groupby: "a.b.0".
Result<Value> value_at(Interpreter* self, const Value& object, const std::string& path) {
  Value found = object;
  for (size_t at = 0; at <= path.size();) {
    const size_t dot = std::min(path.find('.', at), path.size());
    const std::string part = path.substr(at, dot - at);
    const bool is_index =
        !part.empty() && part.size() < 10 && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
    TRY(found, self->item(found, is_index ? Value(static_cast<int64_t>(std::stol(part))) : Value(part)));
    at = dot + 1;
  }
  return found;
}
// The same, where `path` may be absent: the object itself then.
Result<Value> key_of(Interpreter* self, const Value& object, const Value* path) {
  if (!path || path->is_none()) return object;
  return value_at(self, object, path->str());
}

template <bool kLast>
Result<Value> filter_end(Interpreter* self, const Value& input, const Arguments&) {
  TRY(List items, self->iterate(input));
  if (items.empty()) return Value::undefined("No first or last item, sequence was empty.");
  return kLast ? items.back() : items.front();
}

Result<Value> filter_join(Interpreter* self, const Value& input, const Arguments& arguments) {
  TRY(List items, self->iterate(input));
  const Value* by = arguments.find(0, "d");
  const Value* attribute = arguments.find(1, "attribute");
  const std::string separator = by ? by->str() : "";
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    TRY(const Value item, key_of(self, items[i], attribute));
    const std::string piece = item.str();
    TRY_STATUS(self->charge(piece.size() + separator.size()));
    text += (i == 0 ? "" : separator) + piece;
  }
  return Value(std::move(text));
}

Result<Value> filter_list(Interpreter* self, const Value& input, const Arguments&) {
  TRY(List items, self->iterate(input));
  return Value::list(std::move(items));
}

Result<Value> filter_reverse(Interpreter* self, const Value& input, const Arguments&) {
  TRY(List items, self->iterate(input));
  std::ranges::reverse(items);
  if (!input.string()) return Value::list(std::move(items));
  std::string text;
  for (const Value& item : items) text += *item.string();
  return Value(std::move(text));
}

Value without_case(const Value& value) {
  return value.string() ? Value(lower(*value.string())) : value;
}

// An item and what it is sorted by.
struct Keyed {
  Value key;
  Value item;
};

// Errors: kInvalid if two keys do not compare.
Status sort_by_key(Interpreter* self, std::vector<Keyed>* keyed, bool is_reverse) {
  bool can = true;
  std::stable_sort(keyed->begin(), keyed->end(), [&](const Keyed& a, const Keyed& b) {
    bool can_these = true;
    const bool before = is_reverse ? less(b.key, a.key, &can_these) : less(a.key, b.key, &can_these);
    can &= can_these;
    return can_these && before;
  });
  return can ? Status() : self->fail("these values do not compare");
}
Result<Value> sorted(Interpreter* self, std::vector<Keyed> keyed, bool is_reverse) {
  TRY_STATUS(sort_by_key(self, &keyed, is_reverse));
  List items;
  for (Keyed& entry : keyed) items.push_back(std::move(entry.item));
  return Value::list(std::move(items));
}

Result<Value> filter_sort(Interpreter* self, const Value& input, const Arguments& arguments) {
  TRY(List items, self->iterate(input));
  const bool keeps_case = flag_or(arguments.find(1, "case_sensitive"), false);
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    TRY(const Value key, key_of(self, item, arguments.find(2, "attribute")));
    keyed.push_back({keeps_case ? key : without_case(key), item});
  }
  return sorted(self, std::move(keyed), flag_or(arguments.find(0, "reverse"), false));
}

Result<Value> filter_dictsort(Interpreter* self, const Value& input, const Arguments& arguments) {
  if (!input.members()) return self->fail("dictsort takes a dict");
  const Value* by = arguments.find(1, "by");
  const bool by_value = by && by->str() == "value";
  const bool keeps_case = flag_or(arguments.find(0, "case_sensitive"), false);
  std::vector<Keyed> keyed;
  for (const auto& [name, value] : input.members()->items) {
    const Value& key = by_value ? value : name;
    keyed.push_back({keeps_case ? key : without_case(key), Value::list({name, value}, true)});
  }
  return sorted(self, std::move(keyed), flag_or(arguments.find(2, "reverse"), false));
}

Result<Value> filter_unique(Interpreter* self, const Value& input, const Arguments& arguments) {
  TRY(List items, self->iterate(input));
  const bool keeps_case = flag_or(arguments.find(0, "case_sensitive"), false);
  List kept;
  std::vector<Value> seen;
  for (const Value& item : items) {
    const Value key = keeps_case ? item : without_case(item);
    if (std::ranges::find(seen, key) != seen.end()) continue;
    TRY_STATUS(self->step());
    seen.push_back(key);
    kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

Arguments tail_of(const Arguments& arguments, size_t first) {
  Arguments rest;
  for (size_t i = first; i < arguments.positional.size(); ++i) rest.positional.push_back(arguments.positional[i]);
  return rest;
}

Result<Value> filter_map(Interpreter* self, const Value& input, const Arguments& arguments) {
  TRY(List items, self->iterate(input));
  const Value* attribute = arguments.find(SIZE_MAX, "attribute");
  const Value* otherwise = arguments.find(SIZE_MAX, "default");
  if (!attribute && arguments.positional.empty()) return self->fail("map requires a filter argument");
  List mapped;
  for (const Value& item : items) {
    TRY(Value made, attribute ? value_at(self, item, attribute->str())
                              : self->filter(arguments.positional[0].str(), item, tail_of(arguments, 1)));
    if (attribute && made.is_undefined() && otherwise) made = *otherwise;
    mapped.push_back(std::move(made));
  }
  return Value::list(std::move(mapped));
}

// select, reject, selectattr, rejectattr.
template <bool kKeeps, bool kAttribute>
Result<Value> filter_select(Interpreter* self, const Value& input, const Arguments& arguments) {
  TRY(List items, self->iterate(input));
  constexpr size_t kTest = kAttribute ? 1 : 0;
  if (kAttribute && arguments.positional.empty()) return self->fail("Missing parameter for attribute name");
  List kept;
  for (const Value& item : items) {
    TRY(const Value subject, key_of(self, item, kAttribute ? &arguments.positional[0] : nullptr));
    bool is_chosen = subject.truth();
    if (arguments.positional.size() > kTest) {
      TRY(is_chosen, self->test(arguments.positional[kTest].str(), subject, tail_of(arguments, kTest + 1)));
    }
    if (is_chosen == kKeeps) kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

Result<Value> filter_items(Interpreter* self, const Value& input, const Arguments& arguments) {
  if (input.is_undefined()) return Value::list({});
  if (!input.members()) return self->fail("Can only get item pairs from a mapping.");
  return method_items(self, input, arguments);
}

Result<Value> filter_batch(Interpreter* self, const Value& input, const Arguments& arguments) {
  TRY(List items, self->iterate(input));
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
  return Value::list(std::move(rows));
}

Result<Value> filter_slice(Interpreter* self, const Value& input, const Arguments& arguments) {
  TRY(List items, self->iterate(input));
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
  return Value::list(std::move(slices));
}

Result<Value> filter_sum(Interpreter* self, const Value& input, const Arguments& arguments) {
  TRY(List items, self->iterate(input));
  bool is_float = false;
  int64_t whole = 0;
  double total = 0;
  for (const Value& item : items) {
    TRY(const Value number, key_of(self, item, arguments.find(0, "attribute")));
    if (!number.is_number())
      return self->fail(fmt::format("unsupported operand type(s) for +: 'int' and '{}'", number.type_name()));
    is_float |= number.is_float();
    if (!number.is_float() && __builtin_add_overflow(whole, number.as_int(), &whole))
      return self->fail("an integer beyond 64 bits");
    total += number.as_float();
  }
  return is_float ? Value(total) : Value(whole);
}

template <bool kMost>
Result<Value> filter_extreme(Interpreter* self, const Value& input, const Arguments& arguments) {
  TRY(List items, self->iterate(input));
  const bool keeps_case = flag_or(arguments.find(0, "case_sensitive"), false);
  Value chosen = Value::undefined("No aggregated item, sequence was empty.");
  Value best;
  for (size_t i = 0; i < items.size(); ++i) {
    TRY(Value key, key_of(self, items[i], arguments.find(1, "attribute")));
    if (!keeps_case) key = without_case(key);
    bool can = true;
    const bool is_better = i == 0 || (kMost ? less(best, key, &can) : less(key, best, &can));
    if (!can) return self->fail("these values do not compare");
    if (!is_better) continue;
    best = key;
    chosen = items[i];
  }
  return chosen;
}

Result<Value> filter_groupby(Interpreter* self, const Value& input, const Arguments& arguments) {
  const Value* attribute = arguments.find(0, "attribute");
  if (!attribute) return self->fail("groupby takes an attribute");
  TRY(List items, self->iterate(input));
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    TRY(const Value key, value_at(self, item, attribute->str()));
    keyed.push_back({without_case(key), Value::list({key, item}, true)});
  }
  TRY_STATUS(sort_by_key(self, &keyed, false));
  List groups;
  for (size_t i = 0; i < keyed.size();) {
    List members;
    const Value grouper = (*keyed[i].item.items())[0];
    const Value same = keyed[i].key;
    for (; i < keyed.size() && keyed[i].key == same; ++i) members.push_back((*keyed[i].item.items())[1]);
    groups.push_back(Value::list({grouper, Value::list(std::move(members))}, true));
  }
  return Value::list(std::move(groups));
}

}  // namespace

void add_sequence_filters(Builtins* filters) {
  filters->insert({{"first", filter_end<false>},
                   {"last", filter_end<true>},
                   {"join", filter_join},
                   {"list", filter_list},
                   {"reverse", filter_reverse},
                   {"sort", filter_sort},
                   {"dictsort", filter_dictsort},
                   {"unique", filter_unique},
                   {"map", filter_map},
                   {"select", filter_select<true, false>},
                   {"reject", filter_select<false, false>},
                   {"selectattr", filter_select<true, true>},
                   {"rejectattr", filter_select<false, true>},
                   {"items", filter_items},
                   {"batch", filter_batch},
                   {"slice", filter_slice},
                   {"sum", filter_sum},
                   {"min", filter_extreme<false>},
                   {"max", filter_extreme<true>},
                   {"groupby", filter_groupby}});
}

}  // namespace dynamo::text::jinja
