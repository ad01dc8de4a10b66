#include "base/accept.h"

#include <exception>
#include <utility>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.h"

namespace dynamo {

namespace asio = boost::asio;
using asio::ip::tcp;

Task<void> accept_until_closed(tcp::acceptor* acceptor, Accepting how) {
  asio::steady_timer pause(acceptor->get_executor());
  for (bool has_told = false;;) {
    boost::system::error_code error;
    std::string failure;
    try {
      tcp::socket socket =
          co_await acceptor->async_accept(how.thread_of_next(), asio::redirect_error(asio::use_awaitable, error));
      if (!acceptor->is_open()) break;
      if (!error) {
        how.on_next(std::move(socket));
        has_told = false;
        continue;
      }
      failure = error.message();  // out of descriptors, most likely
    } catch (const std::exception& thrown) {
      failure = thrown.what();
    }
    if (!std::exchange(has_told, true))
      LOG(warn, "cannot accept connections; it is tried again", {"by", how.name}, {"why", failure});
    pause.expires_after(kAcceptPause);
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
    if (!acceptor->is_open()) break;
  }
}

}  // namespace dynamo
