// A real nats-server for tests: started on a free port of 127.0.0.1, stopped in every way a machine can stop it.
// It ends with the object, and with the test program however that ends. Threads: one, which must outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/testing/child_process.h"

namespace dynamo::events {

class NatsProcess {
 public:
  // Where nats-server lies; empty when it is not installed: tests then skip themselves and say so.
  static std::string program();

  // Starts it with these arguments beside address and port and waits until it listens. Errors: kUnavailable.
  static Result<std::unique_ptr<NatsProcess>> start(std::vector<std::string> arguments = {});

  uint16_t port() const { return port_; }
  // "nats://127.0.0.1:4222"
  std::string address() const;

  void kill() { process_.reset(); }  // SIGKILL; returns when it is gone
  Status restart();                  // after kill(): on the same port
  void hang() { process_->hang(); }  // its sockets stay open, nothing answers
  void resume() { process_->resume(); }

 private:
  NatsProcess(uint16_t port, std::vector<std::string> arguments) : port_(port), arguments_(std::move(arguments)) {}

  const uint16_t port_;
  const std::vector<std::string> arguments_;
  std::unique_ptr<ChildProcess> process_;  // none while it is killed
};

}  // namespace dynamo::events
