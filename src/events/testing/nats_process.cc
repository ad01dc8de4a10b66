#include "events/testing/nats_process.h"

#include <fmt/format.h>

namespace dynamo::events {

std::string NatsProcess::program() {
  return find_program({"/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"});
}

Result<std::unique_ptr<NatsProcess>> NatsProcess::start(std::vector<std::string> arguments) {
  Status failure;
  for (int attempt = 0; attempt < 3; ++attempt) {  // another program may take the port before the server does
    std::unique_ptr<NatsProcess> process(new NatsProcess(free_port(), arguments));
    failure = process->restart();
    if (failure.is_ok()) return process;
  }
  return failure;
}

std::string NatsProcess::address() const {
  return fmt::format("nats://127.0.0.1:{}", port_);
}

Status NatsProcess::restart() {
  std::vector<std::string> command = {program(), "-a", "127.0.0.1", "-p", std::to_string(port_)};
  command.insert(command.end(), arguments_.begin(), arguments_.end());
  process_ = std::make_unique<ChildProcess>(std::move(command));
  return process_->wait_until_listening(port_);
}

}  // namespace dynamo::events
