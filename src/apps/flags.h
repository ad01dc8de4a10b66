// How every command declares its flags: each is also an environment variable, DYN_ and its name in capitals.
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

}  // namespace dynamo::apps
