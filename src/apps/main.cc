// dynamo: one program, one subcommand per role. Parses the command line and calls it.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "apps/command.h"
#include "apps/flags.h"
#include "base/log.h"
#include "base/log_output.h"

namespace {

// "DYN_LOG" and friends are read here and in the subcommands only; nothing below apps/ knows of flags or the environment.
dynamo::Status configure_logging(const std::string& filter) {
  return filter.empty() ? dynamo::Status() : dynamo::log::configure(filter);
}

// Every connection is a descriptor, and the soft limit is 1,024 on most systems, for the sake of select(), which nothing here uses.
void allow_all_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// A program that was started without standard streams would open files and sockets in their place, and log into them.
void open_standard_streams() {
  int fd = 0;
  while (fd >= 0 && fd <= STDERR_FILENO) fd = ::open("/dev/null", O_RDWR);
  if (fd >= 0) ::close(fd);
}

}  // namespace

int dynamo::apps::finish(const std::string& command, const Status& status) {
  if (status.is_ok()) return 0;
  log::write_text("dynamo " + command + ": " + status.to_string() + "\n");
  return kFailed;
}

int main(int argc, char** argv) {
  // Set for another program's NIXL, it would start the etcd client in ours, whose gRPC does not go with this program's.
  ::unsetenv("NIXL_ETCD_ENDPOINTS");
  open_standard_streams();
  ::signal(SIGPIPE, SIG_IGN);  // whose peer or reader has gone gets an error from its write
  allow_all_descriptors();
  CLI::App app("dynamo: multi-node LLM serving with KV-aware routing");
  app.name("dynamo");
  app.set_version_flag("--version", "dynamo " DYNAMO_VERSION);
  app.option_defaults()->multi_option_policy(
      CLI::MultiOptionPolicy::TakeLast);  // a script's own flag wins over one before it
  std::string log_filter = "info";
  app.add_option("--log", log_filter,
                 "Which log lines to write: trace, debug, info, warn, error or off, or per module: info,router=debug")
      ->envname("DYN_LOG")
      ->capture_default_str();
  bool writes_json = false;
  app.add_flag("--log-json", writes_json, "Write each log line as a JSON object")->envname("DYN_LOGGING_JSONL");
  app.require_subcommand(1);
  app.fallthrough();
  app.immediate_callback();  // of the commands too, and then CLI11 reads the variables of the one that is named only
  dynamo::apps::Run run;
  dynamo::apps::add_serve_command(&app, &run);
  dynamo::apps::add_frontend_command(&app, &run);
  dynamo::apps::add_worker_commands(&app, &run);
  dynamo::apps::add_hub_command(&app, &run);
  dynamo::apps::add_mocker_command(&app, &run);
  dynamo::apps::add_ctl_command(&app, &run);
  dynamo::apps::add_bench_command(&app, &run);
  dynamo::apps::add_chat_command(&app, &run);
  dynamo::apps::add_model_command(&app, &run);
  dynamo::apps::add_docs_command(&app, &run);
  const auto is_named = [&](const CLI::App* command) { return argc > 1 && command->get_name() == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && app.get_subcommands(is_named).empty()) {
    std::fprintf(stderr, "dynamo: there is no command '%s'; run `dynamo --help` for those there are\n", argv[1]);
    return dynamo::apps::kWrongUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "dynamo: %s\nRun `dynamo --help` or `dynamo COMMAND --help` for what is accepted.\n",
                 dynamo::apps::explain(error, &app).c_str());
    return dynamo::apps::kWrongUsage;
  }
  if (const dynamo::Status status = configure_logging(log_filter); !status.is_ok()) {
    std::fprintf(stderr, "dynamo: --log (DYN_LOG): %s\n", status.text().c_str());
    return dynamo::apps::kWrongUsage;
  }
  if (writes_json) dynamo::log::write_json_lines();
  return run();
}
