#include "apps/options.h"

#include <cctype>
#include <charconv>
#include <cstdlib>
#include <type_traits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/host_port.h"

namespace dynamo::apps {
namespace {

// --http-port is also DYN_HTTP_PORT.
std::string variable_of(const std::string& flag) {
  if (!flag.starts_with("--")) return {};
  std::string variable = "DYN" + flag.substr(1);
  for (char& c : variable) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return variable;
}

template <class T>
Status read_number(const std::string& given, T least, T most, T* out) {
  const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), *out);
  if (error == std::errc() && end == given.data() + given.size() && *out >= least && *out <= most) return {};
  const bool is_integer = std::is_integral_v<T>;
  return invalid(fmt::format("'{}' is no {}in [{}, {}]", given, is_integer ? "whole number " : "number ", least, most));
}

}  // namespace

OptionValue checked(std::string* value, std::string kind, std::function<Status(std::string*)> check) {
  OptionValue out;
  out.kind = std::move(kind);
  out.store = [=, check = std::move(check)](std::string given) {
    TRY_STATUS(check(&given));
    *value = std::move(given);
    return Status();
  };
  out.stored = [=] { return std::vector{*value}; };
  return out;
}

OptionValue text(std::string* value) {
  return checked(value, "TEXT", [](std::string*) { return Status(); });
}

OptionValue texts(std::vector<std::string>* values) {
  OptionValue out;
  out.form = OptionValue::Form::kList;
  out.kind = "TEXT";
  out.store = [=, is_first = true](const std::string& given) mutable {
    if (std::exchange(is_first, false)) values->clear();
    values->push_back(given);
    return Status();
  };
  out.stored = [=] { return *values; };
  return out;
}

OptionValue on_or_off(bool* value) {
  OptionValue out;
  out.form = OptionValue::Form::kSwitch;
  out.is_on = value;
  out.stored = [=] { return std::vector<std::string>{*value ? "true" : "false"}; };
  return out;
}

OptionValue host(std::string* value) {
  return checked(value, "HOST", [](std::string* given) {
    TRY(*given, parse_host(*given));
    return Status();
  });
}

OptionValue address(std::string* value) {
  return checked(value, "ADDRESS", [](std::string* given) { return HostPort::parse(*given).status(); });
}

OptionValue one_of(std::vector<std::string> choices, std::function<size_t()> get, std::function<void(size_t)> set) {
  OptionValue out;
  out.kind = fmt::format("{{{}}}", fmt::join(choices, ","));
  out.stored = [=] { return std::vector{choices.at(get())}; };
  out.store = [=](const std::string& given) {
    const auto found = std::ranges::find(choices, given);
    if (found == choices.end()) return invalid(fmt::format("'{}': there are {}", given, fmt::join(choices, ", ")));
    set(static_cast<size_t>(found - choices.begin()));
    return Status();
  };
  return out;
}

OptionValue one_of(std::string* value, std::vector<std::string> choices) {
  OptionValue out = one_of(choices, [] { return size_t{0}; }, [=](size_t place) { *value = choices[place]; });
  out.stored = [=] { return value->empty() ? std::vector<std::string>() : std::vector{*value}; };
  return out;
}

template <class T>
OptionValue number(std::function<std::optional<T>()> get, std::function<void(T)> set, T least, T most) {
  OptionValue out;
  const bool is_any = sizeof(T) > sizeof(uint16_t) && least == std::numeric_limits<T>::lowest() &&
                      most == std::numeric_limits<T>::max();
  out.kind = is_any ? "N" : fmt::format("N in [{}, {}]", least, most);
  out.store = [=](const std::string& given) {
    T number{};
    TRY_STATUS(read_number(given, least, most, &number));
    set(number);
    return Status();
  };
  out.stored = [=] {
    const std::optional<T> now = get();
    return now ? std::vector{fmt::format("{}", *now)} : std::vector<std::string>();
  };
  return out;
}
template OptionValue number(std::function<std::optional<uint16_t>()>, std::function<void(uint16_t)>, uint16_t,
                            uint16_t);
template OptionValue number(std::function<std::optional<uint32_t>()>, std::function<void(uint32_t)>, uint32_t,
                            uint32_t);
template OptionValue number(std::function<std::optional<uint64_t>()>, std::function<void(uint64_t)>, uint64_t,
                            uint64_t);
template OptionValue number(std::function<std::optional<int>()>, std::function<void(int)>, int, int);
template OptionValue number(std::function<std::optional<double>()>, std::function<void(double)>, double, double);

OptionValue mebibytes(uint64_t* bytes, uint64_t least, uint64_t most) {
  return number<uint64_t>([=] { return std::optional(*bytes >> 20); }, [=](uint64_t given) { *bytes = given << 20; },
                          least, most);
}

Option& OptionSet::add(std::string flag, OptionValue value, std::string meaning) {
  Option& option = options_.emplace_back();
  option.variable = variable_of(flag);
  option.flag = std::move(flag);
  option.usual = value.stored();
  option.value = std::move(value);
  option.meaning = std::move(meaning);
  return option;
}

void OptionSet::add(const OptionSet& others) {
  options_.insert(options_.end(), others.options_.begin(), others.options_.end());
}

std::vector<std::string> OptionSet::to_arguments() const {
  std::vector<std::string> arguments;
  for (const Option& option : options_) {
    const std::vector<std::string> now = option.value.stored();
    if (now == option.usual) continue;
    if (option.value.form == OptionValue::Form::kSwitch) {
      arguments.push_back(now.front() == "true" ? option.flag : option.off_flag);
      continue;
    }
    for (const std::string& value : now) arguments.insert(arguments.end(), {option.flag, value});
  }
  return arguments;
}

void OptionSet::forget_variables() const {
  for (const Option& option : options_)
    if (!option.variable.empty()) ::unsetenv(option.variable.c_str());
}

Status OptionSet::with_flag(const Status& status) const {
  for (const Option& option : options_) {
    const std::string field = option.field + ' ';
    const bool is_named = status.text().starts_with(field) || status.text().find(": " + field) != std::string::npos;
    if (!option.field.empty() && is_named) return status.with(option.flag);
  }
  return status;
}

}  // namespace dynamo::apps
