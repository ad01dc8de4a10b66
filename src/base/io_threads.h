// The threads that network code runs on: one io_context each, so what belongs to one thread needs no lock.
// base/io_threads.h Threads: next() and stop() from any thread.
#pragma once

#include <cstddef>
#include <memory>

#include <boost/asio/io_context.hpp>

namespace dynamo {

class IoThreads {
 public:
  // Starts `count` threads, each running its own single-threaded io_context until stop(). Requires: count > 0.
  explicit IoThreads(size_t count);
  ~IoThreads();  // stops and joins
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

  size_t size() const;
  boost::asio::io_context& at(size_t index);
  // The io_contexts in turn.
  boost::asio::io_context& next();
  // Ends every run() at once, whatever is still waiting, and joins. May be called again; not from one of its own
  // threads.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dynamo
