#include "events/testing/nats_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "base/check.h"
#include "base/clock.h"

namespace dynamo::events {
namespace {

constexpr std::chrono::seconds kStartTimeout(10);

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool is_listening(uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  const bool is_open = ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  ::close(socket);
  return is_open;
}

// What the child does between fork() and exec(): only calls that are safe there.
[[noreturn]] void become(char* const* arguments, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);
  const int nowhere = ::open("/dev/null", O_RDWR);
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nowhere, descriptor);
  ::execv(arguments[0], arguments);
  ::_exit(127);
}

}  // namespace

uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof(address);
  CHECK(::bind(socket, reinterpret_cast<const sockaddr*>(&address), size) == 0);
  CHECK(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

std::string NatsProcess::program() {
  for (const char* path : {"/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"}) {
    if (::access(path, X_OK) == 0) return path;
  }
  return {};
}

Result<std::unique_ptr<NatsProcess>> NatsProcess::start(std::vector<std::string> arguments) {
  Status failure;
  for (int attempt = 0; attempt < 3; ++attempt) {  // another program may take the port before the server does
    std::unique_ptr<NatsProcess> process(new NatsProcess(free_port(), arguments));
    failure = process->run();
    if (failure.is_ok()) return process;
  }
  return failure;
}

NatsProcess::~NatsProcess() {
  kill();
}

std::string NatsProcess::address() const {
  return fmt::format("nats://127.0.0.1:{}", port_);
}

void NatsProcess::kill() {
  if (process_ < 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  process_ = -1;
}

Status NatsProcess::restart() {
  return run();
}

void NatsProcess::hang() {
  ::kill(process_, SIGSTOP);
  ::waitpid(process_, nullptr, WUNTRACED);  // it may run on for a moment
}

void NatsProcess::resume() {
  ::kill(process_, SIGCONT);
}

Status NatsProcess::run() {
  CHECK(process_ < 0);
  std::vector<std::string> command = {program(), "-a", "127.0.0.1", "-p", std::to_string(port_)};
  command.insert(command.end(), arguments_.begin(), arguments_.end());
  std::vector<char*> pointers;
  for (std::string& word : command) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const pid_t parent = ::getpid();
  process_ = ::fork();
  if (process_ == 0) become(pointers.data(), parent);
  const Time until = std::chrono::steady_clock::now() + kStartTimeout;
  while (std::chrono::steady_clock::now() < until) {
    if (::waitpid(process_, nullptr, WNOHANG) == process_) {
      process_ = -1;
      return unavailable("nats-server ended at once");
    }
    if (is_listening(port_)) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  kill();
  return unavailable("nats-server does not listen");
}

}  // namespace dynamo::events
