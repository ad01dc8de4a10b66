#include "frontend/worker_connection.h"

#include <atomic>
#include <string>
#include <utility>

#include "base/log.h"

namespace dynamo::frontend {
namespace {

// What the channels of one worker have in common.
struct Together {
  std::string worker;
  std::string address;
  int channels = 0;
  std::function<void()> on_lost;
  std::atomic<int> connected{0};
  std::atomic<uint32_t> warned{0};  // a bit for each Code
};

// For one channel.
class ChannelLog {
 public:
  explicit ChannelLog(std::shared_ptr<Together> all) : all_(std::move(all)) {}

  void operator()(bool is_connected, const Status& why) {
    const bool was_connected = std::exchange(was_connected_, is_connected);
    if (is_connected) {
      if (was_connected || ++all_->connected < all_->channels) return;
      LOG(debug, "connected", {"worker", all_->worker}, {"address", all_->address});
      all_->warned = 0;
      return;
    }
    if (was_connected) {
      --all_->connected;
      all_->on_lost();
    }
    const uint32_t reason = 1U << static_cast<uint32_t>(why.code());
    if ((all_->warned.fetch_or(reason) & reason) == 0)
      LOG(warn, "not connected", {"worker", all_->worker}, {"address", all_->address}, {"why", why.text()});
  }

 private:
  std::shared_ptr<Together> all_;
  bool was_connected_ = false;
};

}  // namespace

std::shared_ptr<rpc::WorkerClient> connect_to(const discovery::WorkerInstance& worker, rpc::Identity self,
                                              IoThreads* io, std::function<void()> on_lost) {
  auto all = std::make_shared<Together>();
  all->worker = worker.name;
  all->address = worker.address;
  all->channels = static_cast<int>(io->size());
  all->on_lost = std::move(on_lost);
  rpc::ChannelOptions channel;
  channel.address = worker.address;
  channel.expected_instance = worker.instance;
  channel.identity = std::move(self);
  channel.on_change = ChannelLog(std::move(all));  // each channel calls a copy of its own
  std::vector<boost::asio::any_io_executor> executors;
  for (size_t i = 0; i < io->size(); ++i) executors.push_back(io->at(i).get_executor());
  auto remote = rpc::WorkerClient::create(std::move(channel), std::move(executors));
  remote->start();
  return remote;
}

}  // namespace dynamo::frontend
