// The options of a command, each declared once. The declaration gives its flag and variable, where its value goes,
// default, range, the line of --help and of docs/reference/flags.md, and what a child process is told.
//
// A flag `--http-port` has the variable DYN_HTTP_PORT; the flag wins. Only the variables of the command that runs are
// read.
// Threads: one, before any other starts.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace dynamo::apps {

// Where an option's value goes and how a command line writes it. Made by the functions below, which take what outlives
// it.
struct OptionValue {
  enum class Form : uint8_t { kOne, kSwitch, kList };  // a switch takes no value; a list is given again for each value
  Form form = Form::kOne;
  std::string kind;                                       // as --help shows it: "HOST", "{auto,shm}", "N in [0, 65535]"
  std::function<Status(const std::string& given)> store;  // Errors: kInvalid. A list grows by each.
  std::function<std::vector<std::string>()> stored;       // as a command line writes it; none: nothing is
  bool* is_on = nullptr;                                  // of a switch, in place of `store`
};

OptionValue text(std::string* value);
OptionValue texts(std::vector<std::string>* values);
OptionValue on_or_off(bool* value);
// A text that `check` may change. Errors: those of `check`.
OptionValue checked(std::string* value, std::string kind, std::function<Status(std::string* given)> check);
OptionValue host(std::string* value);     // a host alone; the brackets of an IPv6 address are taken off
OptionValue address(std::string* value);  // host:port, with an IPv6 address in brackets
OptionValue one_of(std::string* value, std::vector<std::string> choices);
// By its place among the choices.
OptionValue one_of(std::vector<std::string> choices, std::function<size_t()> get, std::function<void(size_t)> set);

// All values that a command line may name, and their names.
template <class T>
OptionValue one_of(T* value, std::vector<T> all, std::string_view (*name)(T)) {
  std::vector<std::string> choices;
  for (const T choice : all) choices.emplace_back(name(choice));
  const auto get = [=] { return static_cast<size_t>(std::ranges::find(all, *value) - all.begin()); };
  return one_of(std::move(choices), get, [=](size_t place) { *value = all[place]; });
}

// For each T there is: uint16_t, uint32_t, uint64_t, int, double. `get` gives none where nothing is stored.
template <class T>
OptionValue number(std::function<std::optional<T>()> get, std::function<void(T)> set, T least, T most);

template <class T>
OptionValue number(T* value, T least = std::numeric_limits<T>::lowest(), T most = std::numeric_limits<T>::max()) {
  return number<T>([=] { return std::optional<T>(*value); }, [=](T given) { *value = given; }, least, most);
}
template <class T>
OptionValue number(std::optional<T>* value, T least = std::numeric_limits<T>::lowest(),
                   T most = std::numeric_limits<T>::max()) {
  return number<T>([=] { return *value; }, [=](T given) { *value = given; }, least, most);
}
// A time in whole units.
template <class Unit, class Time>
OptionValue time_in(Time* value, uint64_t least, uint64_t most) {
  return number<uint64_t>([=] { return std::optional<uint64_t>(std::chrono::duration_cast<Unit>(*value).count()); },
                          [=](uint64_t given) { *value = Unit(given); }, least, most);
}
template <class Time>
OptionValue seconds(Time* value, uint64_t least, uint64_t most) {
  return time_in<std::chrono::seconds>(value, least, most);
}
OptionValue mebibytes(uint64_t* bytes, uint64_t least, uint64_t most);

struct Option {
  std::string flag;  // "--http-port"; without dashes it is an argument by its place
  OptionValue value;
  std::string meaning;
  std::string variable;            // empty: none
  std::vector<std::string> usual;  // the default, as `value.stored` gives it
  std::string off_flag;            // of a switch that is on by default
  std::string field;               // what the layers below call it in errors: "page size"
  std::string excludes;            // a flag that this one cannot be given with
  bool is_required = false;
  bool is_hidden = false;  // from --help: for the processes that `serve` starts

  Option& from(std::string its_variable) { return variable = std::move(its_variable), *this; }
  Option& without_variable() { return variable.clear(), *this; }
  Option& off_by(std::string its_flag) { return off_flag = std::move(its_flag), *this; }
  Option& called(std::string its_field) { return field = std::move(its_field), *this; }
  Option& not_with(std::string its_flag) { return excludes = std::move(its_flag), *this; }
  Option& required() { return is_required = true, *this; }
  Option& hidden() { return is_hidden = true, *this; }
};

class OptionSet {
 public:
  // `value` is at its default now, and outlives this.
  Option& add(std::string flag, OptionValue value, std::string meaning);
  void add(const OptionSet& others);
  const std::list<Option>& all() const { return options_; }

  // What another process is told to have the same values: the flags whose values are not the defaults.
  std::vector<std::string> to_arguments() const;
  // Takes the variables out of the environment, for processes that are told by arguments.
  void forget_variables() const;
  // A failure that names the field of an option ("page size 300: ...") with the flag in front; any other as it is.
  Status with_flag(const Status& status) const;

 private:
  std::list<Option> options_;  // their places stay
};

}  // namespace dynamo::apps
