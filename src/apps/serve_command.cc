// dynamo serve: hub, frontend and workers on this machine, each a process of its own under this one's supervision.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "apps/command.h"
#include "apps/engine_flags.h"
#include "apps/frontend_flags.h"
#include "apps/supervisor.h"
#include "base/log.h"
#include "base/usable_cores.h"

namespace dynamo::apps {
namespace {

constexpr Duration kStartLimit = std::chrono::hours(1);  // loading a large model takes its time

struct ServeFlags {
  FrontendFlags frontend;
  EngineFlags engine;
  std::optional<uint32_t> workers;
  uint32_t prefill_workers = 0;
  uint32_t decode_workers = 0;
  // What the processes are told of: all of them, the frontend, each worker.
  const OptionSet* of_program = nullptr;
  OptionSet of_frontend;
  OptionSet of_engine;

  uint32_t aggregated() const { return workers.value_or(prefill_workers + decode_workers == 0 ? 1 : 0); }
  uint32_t all() const { return aggregated() + prefill_workers + decode_workers; }
};

std::vector<std::string> joined(std::vector<std::string> first, std::vector<std::string> second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// Returns: the frontend's URL; a request to that is answered.
Result<std::string> start_all(const ServeFlags& flags, Supervisor* supervisor) {
  const Time until = Clock::steady().now() + kStartLimit;
  const std::vector<std::string> of_all = flags.of_program->to_arguments();
  const auto start = [&](ChildOptions options) {
    options.arguments = joined(std::move(options.arguments), of_all);
    return supervisor->start(std::move(options));
  };
  TRY_STATUS(start({.name = "hub", .arguments = {"hub", "--port", "0"}}));
  TRY(const std::string port, supervisor->wait_until_ready(until));
  const std::string hub = "127.0.0.1:" + port;
  // Ended and started again it must be found where it was.
  supervisor->set_arguments("hub", joined({"hub", "--port", port}, of_all));
  const auto drain = std::to_string(flags.frontend.drain_timeout.count());
  const auto start_workers = [&](uint32_t count, const std::string& name, const std::string& mode) -> Status {
    for (uint32_t i = 1; i <= count; ++i) {
      // Said outright, so that no variable gives two of them one port, or an address that nothing listens on.
      const std::vector<std::string> arguments = {"worker",    "--hub",
                                                  hub,         "--host",
                                                  "127.0.0.1", "--announce-host",
                                                  "127.0.0.1", "--port",
                                                  "0",         "--system-port",
                                                  "0",         "--drain-timeout",
                                                  drain,       "--disaggregation-mode",
                                                  mode};
      TRY_STATUS(start(
          {.name = fmt::format("{} {}", name, i), .arguments = joined(arguments, flags.of_engine.to_arguments())}));
    }
    return {};
  };
  TRY_STATUS(start_workers(flags.aggregated(), "worker", "aggregated"));
  TRY_STATUS(start_workers(flags.decode_workers, "decode-worker", "decode"));
  TRY_STATUS(start_workers(flags.prefill_workers, "prefill-worker", "prefill"));
  TRY_STATUS(start({.name = "frontend",
                    .arguments = joined({"frontend", "--hub", hub}, flags.of_frontend.to_arguments()),
                    .stop_limit = flags.frontend.drain_timeout + std::chrono::seconds(10)}));
  return supervisor->wait_until_ready(until);
}

// The flags are told to the processes as they are then.
int serve(ServeFlags* flags) {
  Status status = find_model(&flags->engine);
  uint32_t& threads = flags->engine.worker.backend.threads;
  if (threads == 0 && flags->all() > 0) threads = std::max(1U, usable_cores() / flags->all());
  if (status.is_ok() && flags->aggregated() + flags->decode_workers == 0)
    status = invalid("--prefill-workers compute prompts only: --decode-workers (or --workers) are needed to answer");
  const StopSignals signals;
  Supervisor supervisor(&signals);
  std::string url;
  if (status.is_ok()) {
    auto started = start_all(*flags, &supervisor);
    status = started.status();
    if (started.is_ok()) url = std::move(started).value();
  }
  int signal = 0;
  if (status.is_ok()) {
    LOG(info, "all processes are ready", {"workers", flags->all()}, {"url", url});
    signal = supervisor.run();
  }
  if (status.is_ok() || status.code() == Code::kCancelled) {
    LOG(info, "stopping: running requests may finish", {"signal", signal},
        {"within", fmt::format("{} s", flags->frontend.drain_timeout.count())});
    supervisor.stop();
    LOG(info, "stopped");
    return 0;
  }
  supervisor.stop();
  return finish("serve", status);
}

}  // namespace

Command serve_command(const OptionSet* of_program) {
  auto flags = std::make_shared<ServeFlags>();
  flags->of_program = of_program;
  flags->of_frontend = options_of(&flags->frontend);
  flags->of_engine = options_of(&flags->engine);
  Command command{.name = "serve",
                  .meaning = "Serve a model on this machine: hub, frontend and workers, each in a process of its own"};
  command.options.add(flags->of_frontend);
  command.options.add(flags->of_engine);
  command.options.add("--workers", number(&flags->workers, 0U, 64U),
                      "Workers to run that do both prefill and decode, each with its own copy of the weights; 1 if no "
                      "others are run");
  command.options.add("--prefill-workers", number(&flags->prefill_workers, 0U, 64U),
                      "Workers to run that compute prompts for decode workers");
  command.options.add(
      "--decode-workers", number(&flags->decode_workers, 0U, 64U),
      "Workers to run that answer, with the prompts' KV blocks from prefill workers over shared memory");
  command.run = [=, own = command.options] {
    of_program->forget_variables();
    own.forget_variables();
    return serve(flags.get());
  };
  return command;
}

}  // namespace dynamo::apps
