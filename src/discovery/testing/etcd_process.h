// A real etcd for tests: started on free ports of 127.0.0.1 with a data folder of its own, stopped in every way a machine can stop it.
// It ends with the object, and with the test program however that ends. Threads: one, which must outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/testing/child_process.h"

namespace dynamo::discovery {

class EtcdProcess {
 public:
  // Where etcd lies; empty when it is not installed: tests then skip themselves and say so.
  static std::string program();

  // Starts so many that are one cluster, with these arguments beside their addresses, and waits until they listen. `scheme` is that
  // of their clients, http or https. Errors: kUnavailable.
  static Result<std::vector<std::unique_ptr<EtcdProcess>>> start_cluster(size_t members,
                                                                         const std::string& scheme = "http",
                                                                         std::vector<std::string> arguments = {});
  // One that is alone.
  static std::unique_ptr<EtcdProcess> start(const std::string& scheme = "http",
                                            std::vector<std::string> arguments = {});
  ~EtcdProcess();  // with its data
  EtcdProcess(const EtcdProcess&) = delete;
  EtcdProcess& operator=(const EtcdProcess&) = delete;

  uint16_t port() const { return port_; }
  // "http://127.0.0.1:2379"
  std::string endpoint() const;

  void kill() { process_.reset(); }  // SIGKILL; returns when it is gone
  Status restart();                  // after kill(): on the same ports
  void forget();                     // after kill(): what it had stored
  void hang() { process_->hang(); }  // its sockets stay open, nothing answers
  void resume() { process_->resume(); }

 private:
  EtcdProcess(uint16_t port, uint16_t peer_port, std::string scheme);
  std::string member() const;  // its name and address in the cluster
  void run();

  const uint16_t port_;
  const uint16_t peer_port_;
  const std::string scheme_;
  const std::string folder_;            // its data's
  std::vector<std::string> arguments_;  // beside its own addresses
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace dynamo::discovery
