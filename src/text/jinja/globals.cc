// The global functions: range, namespace, dict, joiner, cycler, raise_exception, strftime_now.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>

#include "text/jinja/interpreter.h"

namespace dynamo::text::jinja {
namespace {

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

Result<Value> make_range(Interpreter* self, const Arguments& arguments) {
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3 ||
      !std::ranges::all_of(given, [](const Value& v) { return v.is_number() && !v.is_float(); }))
    return self->fail("range takes one to three integers");
  const int64_t first = given.size() > 1 ? given[0].as_int() : 0;
  const int64_t last = given.size() > 1 ? given[1].as_int() : given[0].as_int();
  const int64_t by = given.size() > 2 ? given[2].as_int() : 1;
  if (by == 0) return self->fail("range() arg 3 must not be zero");
  const double count = std::ceil((static_cast<double>(last) - static_cast<double>(first)) / static_cast<double>(by));
  if (count > 100000) return self->fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  List items;
  for (int64_t i = 0; i < static_cast<int64_t>(count); ++i) items.emplace_back(first + i * by);
  TRY_STATUS(self->charge(items.size() * 48));
  return Value::list(std::move(items));
}

Dict members_in(const Arguments& arguments) {
  Dict members;
  if (!arguments.positional.empty() && arguments.positional[0].members()) members = *arguments.positional[0].members();
  for (const auto& [key, value] : arguments.named) members.set(key, value);
  return members;
}
Result<Value> make_namespace(Interpreter*, const Arguments& arguments) {
  return Value::name_space(members_in(arguments));
}
Result<Value> make_dict(Interpreter*, const Arguments& arguments) {
  return Value::dict(members_in(arguments));
}

Result<Value> make_joiner(Interpreter*, const Arguments& arguments) {
  const Value* by = arguments.find(0, "sep");
  auto is_used = std::make_shared<bool>(false);
  return Value::callable(
      {"joiner", [is_used, text = by ? *by : Value(", ")](Interpreter*, const Arguments&) -> Result<Value> {
         return std::exchange(*is_used, true) ? text : Value("");
       }});
}

Result<Value> make_cycler(Interpreter* self, const Arguments& arguments) {
  if (arguments.positional.empty()) return self->fail("at least one item has to be provided");
  auto next = std::make_shared<size_t>(0);
  Dict members;
  members.set(
      "next",
      Value::callable({"next", [next, items = arguments.positional](Interpreter*, const Arguments&) -> Result<Value> {
                         return items[(*next)++ % items.size()];
                       }}));
  members.set("reset", Value::callable({"reset", [next](Interpreter*, const Arguments&) -> Result<Value> {
                                          *next = 0;
                                          return Value();
                                        }}));
  return Value::name_space(std::move(members));
}

Result<Value> raise_exception(Interpreter* self, const Arguments& arguments) {
  const Value* message = arguments.find(0, "message");
  return self->fail(message ? message->str() : "the template raised an exception");
}

Result<Value> strftime_now(Interpreter* self, const Arguments& arguments) {
  const Value* format = arguments.find(0, "format");
  if (!format || !format->string()) return self->fail("strftime_now takes a format");
  return Value(strftime_text(self->now(), *format->string()));
}

}  // namespace

std::vector<std::pair<std::string, Value>> global_functions() {
  std::vector<std::pair<std::string, Value>> functions;
  const auto add = [&](const char* name, Result<Value> (*call)(Interpreter*, const Arguments&)) {
    functions.emplace_back(name, Value::callable({name, call}));
  };
  add("range", make_range);
  add("namespace", make_namespace);
  add("dict", make_dict);
  add("joiner", make_joiner);
  add("cycler", make_cycler);
  add("raise_exception", raise_exception);
  add("strftime_now", strftime_now);
  return functions;
}

}  // namespace dynamo::text::jinja
