// A program that a test runs beside itself, and stops in every way a machine can stop it.
// It ends with the object, and with the test program however that ends. Threads: one, which must outlive it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace dynamo {

class ChildProcess {
 public:
  // Starts `command`, a program's path and its arguments; what it reads and writes is nothing.
  explicit ChildProcess(std::vector<std::string> command);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Blocks until it listens on this port of 127.0.0.1, for ten seconds at most. Errors: kUnavailable (it ended, or does not listen).
  Status wait_until_listening(uint16_t port);
  void hang();    // SIGSTOP: its sockets stay open, nothing answers
  void resume();  // SIGCONT

 private:
  const std::string program_;
  pid_t process_ = -1;
};

// The first of these paths that can be executed; empty if none can.
std::string find_program(const std::vector<std::string>& paths);

// A port of 127.0.0.1 that nobody listens on, now.
uint16_t free_port();

}  // namespace dynamo
