#include "apps/flags.h"

#include <fmt/format.h>

#include <cstdlib>
#include <vector>

namespace dynamo::apps {
namespace {

// The program's own options and those of the command that was named.
std::vector<CLI::Option*> options_in_use(CLI::App* app) {
  std::vector<CLI::Option*> options = app->get_options();
  for (CLI::App* command : app->get_subcommands())
    for (CLI::Option* option : options_in_use(command)) options.push_back(option);
  return options;
}

// Whether the value alone makes the option fail in the same way.
bool is_cause(CLI::Option* option, const std::string& value, const CLI::ParseError& error) {
  try {
    option->clear();
    option->add_result(value);
    option->run_callback();
  } catch (const CLI::ParseError& again) {
    return std::string(again.what()) == error.what();
  }
  return false;
}

}  // namespace

std::string explain(const CLI::ParseError& error, CLI::App* app) {
  for (CLI::Option* option : options_in_use(app)) {
    const std::string variable = option->get_envname();
    const char* value = variable.empty() ? nullptr : std::getenv(variable.c_str());
    if (value == nullptr || *value == '\0' || !is_cause(option, value, error)) continue;
    const bool is_service = std::string_view(value).starts_with("tcp://");
    return fmt::format("{} (environment): {}\n{}Unset {}, or give {}, which wins.", variable, error.what(),
                       is_service ? "Kubernetes sets variables like this one for the Services of a namespace; "
                                    "`enableServiceLinks: false` in the pod's spec keeps them out.\n"
                                  : "",
                       variable, option->get_name());
  }
  return error.what();
}

void forget_variables(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options())
    if (!option->get_envname().empty()) ::unsetenv(option->get_envname().c_str());
}

}  // namespace dynamo::apps
