#include "base/timer.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace dynamo {

Task<void> Timer::wait(Time until) {
  if (clock_->now() >= until) co_return;
  timer_.expires_at(clock_->arm(this, until));
  boost::system::error_code ignored;
  co_await timer_.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  clock_->disarm(this);
}

}  // namespace dynamo
