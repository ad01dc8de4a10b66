#include "apps/command_line.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace dynamo::apps {
namespace {

using Form = OptionValue::Form;

// CLI11's own form of an option. What `option` refuses ends the parse with its flag and why.
CLI::Option* declare(const Option& option, CLI::App* command) {
  if (option.value.form == Form::kSwitch) {
    const std::string flags = option.off_flag.empty() ? option.flag : option.flag + ",!" + option.off_flag;
    return command->add_flag(flags, *option.value.is_on, option.meaning);
  }
  const auto store = [&option](const CLI::results_t& given) {
    for (const std::string& value : given)
      if (const Status status = option.value.store(value); !status.is_ok())
        throw CLI::ValidationError(option.flag, status.text());
    return true;
  };
  CLI::Option* declared = command->add_option(option.flag, store, option.meaning);
  declared->type_name(option.value.kind)->default_str(fmt::format("{}", fmt::join(option.usual, ",")));
  if (option.value.form == Form::kList) {
    declared->expected(1, -1)->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  return declared;
}

void declare(const Command& from, CLI::App* app, const Command** named) {
  for (const Option& option : from.options.all()) {
    CLI::Option* declared = declare(option, app)->envname(option.variable)->required(option.is_required);
    if (option.is_hidden) declared->group("");
    if (!option.excludes.empty()) declared->excludes(app->get_option(option.excludes));
  }
  if (!from.commands.empty()) app->require_subcommand(1);
  for (const Command& command : from.commands)
    declare(command, app->add_subcommand(command.name, command.meaning), named);
  if (from.run) app->callback([named, &from] { *named = &from; });
}

std::unique_ptr<CLI::App> make_app(const Command& program, const Command** named) {
  auto app = std::make_unique<CLI::App>(program.meaning, program.name);
  app->set_version_flag("--version", "dynamo " DYNAMO_VERSION);
  app->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // a script's own flag wins
  app->fallthrough();
  app->immediate_callback();  // of the commands too, and then CLI11 reads the variables of the one that is named only
  declare(program, app.get(), named);
  return app;
}

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

// For a value that came from a variable: which one, and what to do.
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

void add_pages(const CLI::App& app, const std::string& name, std::string* pages) {
  *pages += fmt::format("{}## {}\n\n```\n{}```\n", pages->empty() ? "" : "\n", name,
                        CLI::Formatter().make_help(&app, name, CLI::AppFormatMode::Normal));
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    add_pages(*command, name + ' ' + command->get_name(), pages);
}

}  // namespace

const Command* read_command_line(const Command& program, int argc, char** argv, int* status) {
  const Command* named = nullptr;
  const auto app = make_app(program, &named);
  *status = kWrongUsage;
  const auto is_named = [&](const CLI::App* command) { return argc > 1 && command->get_name() == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && app->get_subcommands(is_named).empty()) {
    std::fprintf(stderr, "dynamo: there is no command '%s'; run `dynamo --help` for those there are\n", argv[1]);
    return nullptr;
  }
  try {
    app->parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    *status = app->exit(done);
    return nullptr;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "dynamo: %s\nRun `dynamo --help` or `dynamo COMMAND --help` for what is accepted.\n",
                 explain(error, app.get()).c_str());
    return nullptr;
  }
  return named;
}

std::string help_pages(const Command& program) {
  const Command* named = nullptr;
  std::string pages;
  add_pages(*make_app(program, &named), program.name, &pages);
  return pages;
}

}  // namespace dynamo::apps
