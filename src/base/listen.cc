#include "base/listen.h"

#include <fmt/format.h>

#include <boost/asio/ip/v6_only.hpp>

#include "base/host_port.h"

namespace dynamo {

namespace asio = boost::asio;
using asio::ip::tcp;

Status listen_on(tcp::acceptor* acceptor, const std::string& host, uint16_t port) {
  boost::system::error_code error;
  tcp::resolver resolver(acceptor->get_executor());
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty()) return invalid(fmt::format("{}: no address to listen on: {}", host, error.message()));
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor->open(endpoint.protocol(), error);
  if (!error) acceptor->set_option(tcp::acceptor::reuse_address(true), error);
  if (!error && endpoint.address().is_v6() && endpoint.address().is_unspecified())
    acceptor->set_option(asio::ip::v6_only(false), error);
  if (!error) acceptor->bind(endpoint, error);
  if (!error) acceptor->listen(asio::socket_base::max_listen_connections, error);
  if (!error) return {};
  const boost::system::error_code why = error;
  acceptor->close(error);
  const std::string where = host_port_text(host, port);
  if (why == asio::error::address_in_use)
    return unavailable(where + " is in use by another program; choose another port, or 0 for any free one");
  if (why == boost::system::errc::permission_denied)
    return unavailable(fmt::format("cannot listen on {}: {}; choose a port from 1024 on", where, why.message()));
  return invalid(fmt::format("cannot listen on {}: {}; choose an address of this machine", where, why.message()));
}

}  // namespace dynamo
