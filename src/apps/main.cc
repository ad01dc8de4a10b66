// dynamo: one program, one subcommand per role. Parses the command line and calls it.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "apps/command.h"
#include "apps/command_line.h"
#include "base/log.h"
#include "base/log_output.h"

using namespace dynamo;        // NOLINT: main() itself
using namespace dynamo::apps;  // NOLINT

namespace {

// "DYN_LOG" and friends are read here and in the subcommands only; nothing below apps/ knows of flags or the
// environment.
Status configure_logging(const std::string& filter) {
  return filter.empty() ? Status() : log::configure(filter);
}

// Every connection is a descriptor, and the soft limit is 1,024 on most systems, for the sake of select(), which
// nothing here uses.
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
  std::string log_filter = "info";
  bool writes_json = false;
  Command program{.name = "dynamo", .meaning = "dynamo: multi-node LLM serving with KV-aware routing"};
  program.options
      .add("--log", text(&log_filter),
           "Which log lines to write: trace, debug, info, warn, error or off, or per module: info,router=debug")
      .from("DYN_LOG");
  program.options.add("--log-json", on_or_off(&writes_json), "Write each log line as a JSON object")
      .from("DYN_LOGGING_JSONL");
  program.commands = {serve_command(&program.options),
                      frontend_command(),
                      worker_command(),
                      decode_worker_command(),
                      hub_command(),
                      mocker_command(),
                      ctl_command(),
                      bench_command(),
                      chat_command(),
                      model_command(),
                      docs_command(&program)};
  int status = 0;
  const Command* command = read_command_line(program, argc, argv, &status);
  if (command == nullptr) return status;
  if (const Status wrong = configure_logging(log_filter); !wrong.is_ok()) {
    std::fprintf(stderr, "dynamo: --log (DYN_LOG): %s\n", wrong.text().c_str());
    return kWrongUsage;
  }
  if (writes_json) log::write_json_lines();
  return command->run();
}
