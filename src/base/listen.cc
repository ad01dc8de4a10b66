#include "base/listen.h"

#include <fmt/format.h>

#include <boost/asio/ip/v6_only.hpp>

#include "base/host_port.h"

namespace dynamo {

namespace asio = boost::asio;
using asio::ip::tcp;

Status listen_on(tcp::acceptor* acceptor, const std::string& host, uint16_t port, ListenFlags flags) {
  boost::system::error_code error;
  tcp::resolver resolver(acceptor->get_executor());
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty())
    return invalid(fmt::format("{} {}: no address to listen on: {}", flags.host, host, error.message()));
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
  if (why == asio::error::address_in_use) {
    return unavailable(
        fmt::format("{} is in use by another program; choose another port with {}, or 0 for any free one",
                    host_port_text(host, port), flags.port));
  }
  return unavailable(fmt::format("cannot listen on {}: {}; choose another address with {}", host_port_text(host, port),
                                 why.message(), flags.host));
}

}  // namespace dynamo
