#include "base/io_threads.h"

#include <boost/asio/executor_work_guard.hpp>

#include <atomic>
#include <thread>
#include <vector>

#include "base/check.h"

namespace dynamo {
namespace {

using WorkGuard = boost::asio::executor_work_guard<boost::asio::io_context::executor_type>;

struct IoThread {
  boost::asio::io_context io{1};
  WorkGuard work = boost::asio::make_work_guard(io);
  std::thread thread;
};

}  // namespace

struct IoThreads::State {
  std::vector<std::unique_ptr<IoThread>> threads;
  std::atomic<size_t> turn{0};
};

IoThreads::IoThreads(size_t count) : state_(std::make_unique<State>()) {
  CHECK(count > 0);
  for (size_t i = 0; i < count; ++i) {
    auto& made = *state_->threads.emplace_back(std::make_unique<IoThread>());
    made.thread = std::thread([&made] { made.io.run(); });
  }
}

IoThreads::~IoThreads() {
  stop();
}

size_t IoThreads::size() const {
  return state_->threads.size();
}
boost::asio::io_context& IoThreads::at(size_t index) {
  return state_->threads.at(index)->io;
}
boost::asio::io_context& IoThreads::next() {
  return at(state_->turn++ % size());
}

void IoThreads::stop() {
  for (auto& running : state_->threads) running->io.stop();
  for (auto& running : state_->threads) {
    if (running->thread.joinable()) running->thread.join();
  }
}

}  // namespace dynamo
