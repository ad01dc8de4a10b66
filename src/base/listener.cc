#include "base/listener.h"

#include <exception>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include "base/accept.h"
#include "base/check.h"
#include "base/listen.h"
#include "base/log.h"

namespace dynamo {

namespace asio = boost::asio;
using asio::ip::tcp;

Listener::Listener(Options options, asio::io_context* io, IoThreads* all)
    : options_(std::move(options)), io_(all), acceptor_(*io) {}

Listener::~Listener() {
  MutexLock lock(mutex_);
  CHECK(!is_open_);
}

Result<std::shared_ptr<Listener>> Listener::open(Options options, IoThreads* io) {
  asio::io_context* thread = options.only_thread != nullptr ? options.only_thread : &io->at(0);
  std::shared_ptr<Listener> listener(new Listener(std::move(options), thread, io));
  TRY_STATUS(listen_on(&listener->acceptor_, listener->options_.host, listener->options_.port));
  listener->port_ = listener->acceptor_.local_endpoint().port();
  MutexLock lock(listener->mutex_);
  listener->is_open_ = true;
  return listener;
}

void Listener::start(std::function<std::shared_ptr<Connection>(tcp::socket)> make) {
  {
    MutexLock lock(mutex_);
    is_accepting_ = true;
  }
  Accepting how;
  how.name = options_.name;
  how.thread_of_next = [this]() -> asio::io_context& {
    return options_.only_thread ? *options_.only_thread : io_->next();
  };
  how.on_next = [this, make = std::move(make)](tcp::socket socket) {
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    {
      MutexLock lock(mutex_);
      if (is_stopping_ || connections_.size() >= options_.max_connections) return;  // its destructor closes it
    }
    const asio::any_io_executor executor = socket.get_executor();
    run(make(std::move(socket)), executor);
  };
  // However it ends, stop() must not wait for it.
  asio::co_spawn(acceptor_.get_executor(), accept_until_closed(&acceptor_, std::move(how)),
                 [self = shared_from_this()](const std::exception_ptr& failure) {
                   if (failure)
                     LOG(error, "no more connections are accepted: an exception", {"by", self->options_.name});
                   MutexLock lock(self->mutex_);
                   self->is_accepting_ = false;
                   self->changed_.notify_all();
                 });
}

bool Listener::add(const std::shared_ptr<Connection>& connection, const asio::any_io_executor& executor) {
  MutexLock lock(mutex_);
  return !is_stopping_ && connections_.emplace(connection, executor).second;
}

void Listener::run(std::shared_ptr<Connection> connection, const asio::any_io_executor& executor) {
  if (!add(connection, executor)) return;
  const auto on_end = [self = shared_from_this(), connection](const std::exception_ptr& failure) {
    if (failure) {
      LOG(error, "a connection ended with an exception", {"by", self->options_.name});
      connection->close(/*is_hard=*/true);
    }
    self->remove(connection);
  };
  try {
    asio::co_spawn(executor, connection->serve(), on_end);
  } catch (...) {  // or stop() would wait for it
    remove(connection);
    throw;
  }
}

void Listener::remove(const std::shared_ptr<Connection>& connection) {
  MutexLock lock(mutex_);
  connections_.erase(connection);
  changed_.notify_all();
}

uint32_t Listener::connections() const {
  MutexLock lock(mutex_);
  return static_cast<uint32_t>(connections_.size());
}

void Listener::stop(Time until) {
  MutexLock lock(mutex_);
  if (!std::exchange(is_stopping_, true)) {
    asio::post(acceptor_.get_executor(), [self = shared_from_this()] {
      boost::system::error_code ignored;
      self->acceptor_.close(ignored);
      MutexLock closed(self->mutex_);
      self->is_open_ = false;
      self->changed_.notify_all();
    });
  }
  while (!is_quiet()) {
    const bool is_hard = Clock::steady().now() >= until;
    for (const auto& [connection, executor] : connections_)
      asio::post(executor, [connection = connection, is_hard] { connection->close(is_hard); });
    changed_.wait_for(mutex_, std::chrono::milliseconds(20), [this]() REQUIRES(mutex_) { return is_quiet(); });
  }
}

}  // namespace dynamo
