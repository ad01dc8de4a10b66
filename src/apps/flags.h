// How every command declares its flags: each is also an environment variable, DYN_ and its name in capitals. Only the variables of the
// command that runs are read.
#pragma once

#include <CLI/CLI.hpp>

#include <cctype>
#include <string>

namespace dynamo::apps {

// --http-port is also DYN_HTTP_PORT.
inline std::string variable_of(const std::string& flag) {
  std::string variable = "DYN" + flag.substr(1);
  for (char& c : variable) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return variable;
}

template <class T>
CLI::Option* add_flag(CLI::App* command, const std::string& name, T& value, const std::string& meaning) {
  return command->add_option(name, value, meaning)->envname(variable_of(name))->capture_default_str();
}

// What is wrong with a command line that CLI11 refused; for a value that came from a variable, which one, and what to do.
// Requires: `app` has parsed it and is not asked for values afterwards.
std::string explain(const CLI::ParseError& error, CLI::App* app);

// Takes the variables of `app`'s own options out of the environment, for processes that are told by arguments.
// Threads: before any other starts.
void forget_variables(const CLI::App& app);

}  // namespace dynamo::apps
