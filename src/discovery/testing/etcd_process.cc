#include "discovery/testing/etcd_process.h"

#include <unistd.h>

#include <filesystem>

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo::discovery {

std::string EtcdProcess::program() {
  return find_program({"/usr/bin/etcd", "/usr/local/bin/etcd"});
}

Result<std::vector<std::unique_ptr<EtcdProcess>>> EtcdProcess::start_cluster(size_t members, const std::string& scheme,
                                                                             std::vector<std::string> arguments) {
  Status failure;
  for (int attempt = 0; attempt < 3; ++attempt) {  // another program may take a port before etcd does
    std::vector<std::unique_ptr<EtcdProcess>> cluster;
    std::vector<std::string> names;
    while (cluster.size() < members) {
      cluster.emplace_back(new EtcdProcess(free_port(), free_port(), scheme));
      names.push_back(cluster.back()->member());
    }
    for (const auto& process : cluster) {
      process->arguments_ = arguments;
      process->arguments_.insert(process->arguments_.end(),
                                 {"--initial-cluster", fmt::format("{}", fmt::join(names, ","))});
      process->run();
    }
    failure = {};
    for (const auto& process : cluster) {
      if (failure.is_ok()) failure = process->process_->wait_until_listening(process->port_);
    }
    if (failure.is_ok()) return cluster;
  }
  return failure;
}

std::unique_ptr<EtcdProcess> EtcdProcess::start(const std::string& scheme, std::vector<std::string> arguments) {
  auto cluster = start_cluster(1, scheme, std::move(arguments));
  CHECK_OK(cluster);
  return std::move(cluster.value().front());
}

EtcdProcess::EtcdProcess(uint16_t port, uint16_t peer_port, std::string scheme)
    : port_(port),
      peer_port_(peer_port),
      scheme_(std::move(scheme)),
      folder_(fmt::format("{}/dynamo_etcd_{}_{}", std::filesystem::temp_directory_path().string(), ::getpid(), port)) {}

EtcdProcess::~EtcdProcess() {
  kill();
  forget();
}

std::string EtcdProcess::endpoint() const {
  return fmt::format("{}://127.0.0.1:{}", scheme_, port_);
}

std::string EtcdProcess::member() const {
  return fmt::format("m{0}=http://127.0.0.1:{0}", peer_port_);
}

void EtcdProcess::run() {
  const std::string peer = fmt::format("http://127.0.0.1:{}", peer_port_);
  std::vector<std::string> command = {program(),
                                      "--name",
                                      fmt::format("m{}", peer_port_),
                                      "--data-dir",
                                      folder_,
                                      "--listen-client-urls",
                                      endpoint(),
                                      "--advertise-client-urls",
                                      endpoint(),
                                      "--listen-peer-urls",
                                      peer,
                                      "--initial-advertise-peer-urls",
                                      peer,
                                      "--heartbeat-interval",
                                      "50",
                                      "--election-timeout",
                                      "500"};
  command.insert(command.end(), arguments_.begin(), arguments_.end());
  process_ = std::make_unique<ChildProcess>(std::move(command));
}

Status EtcdProcess::restart() {
  run();
  return process_->wait_until_listening(port_);
}

void EtcdProcess::forget() {
  std::filesystem::remove_all(folder_);
}

}  // namespace dynamo::discovery
