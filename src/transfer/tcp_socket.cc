#include "transfer/tcp_socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace dynamo::transfer {
namespace {

in_port_t* port_of(SocketAddress* address) {
  if (address->storage.ss_family == AF_INET6) return &reinterpret_cast<sockaddr_in6*>(&address->storage)->sin6_port;
  return &reinterpret_cast<sockaddr_in*>(&address->storage)->sin_port;
}

const sockaddr* generic(const SocketAddress& address) {
  return reinterpret_cast<const sockaddr*>(&address.storage);
}

void set_number(int socket, int level, int option, int value) {
  ::setsockopt(socket, level, option, &value, sizeof(value));
}

}  // namespace

Result<SocketAddress> SocketAddress::of_number(const std::string& host, uint16_t port) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0)
    return invalid(fmt::format("'{}' is no numeric address: {}", host, ::gai_strerror(error)));
  SocketAddress address;
  address.size = found->ai_addrlen;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  ::freeaddrinfo(found);
  *port_of(&address) = htons(port);
  return address;
}

std::string SocketAddress::host() const {
  std::string text(NI_MAXHOST, '\0');
  if (::getnameinfo(generic(*this), size, text.data(), NI_MAXHOST, nullptr, 0, NI_NUMERICHOST) != 0) return {};
  return text.substr(0, text.find('\0'));
}

uint16_t SocketAddress::port() const {
  SocketAddress copy = *this;
  return ntohs(*port_of(&copy));
}

Result<Fd> listen_on(SocketAddress* address) {
  Fd socket(::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open()) return unavailable(errno_text("a socket"));
  // "::" takes IPv4 connections too; for other addresses it makes no difference.
  if (address->storage.ss_family == AF_INET6) set_number(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  SocketAddress taken;
  taken.size = sizeof(taken.storage);
  if (::bind(socket.get(), generic(*address), address->size) != 0 || ::listen(socket.get(), SOMAXCONN) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&taken.storage), &taken.size) != 0)
    return unavailable(errno_text("listening on " + address->host()) + "; choose another address with --host");
  *port_of(address) = *port_of(&taken);
  return socket;
}

Result<Fd> begin_connect(const SocketAddress& address) {
  Fd socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open()) return unavailable(errno_text("a socket"));
  if (::connect(socket.get(), generic(address), address.size) != 0 && errno != EINPROGRESS)
    return unavailable(errno_text("connecting"));
  return socket;
}

Status connect_result(int socket) {
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 ? Status() : unavailable(fmt::format("connecting: {}", std::strerror(error)));
}

bool is_to_this_host(int socket) {
  SocketAddress own, other;
  own.size = other.size = sizeof(own.storage);
  return ::getsockname(socket, reinterpret_cast<sockaddr*>(&own.storage), &own.size) == 0 &&
         ::getpeername(socket, reinterpret_cast<sockaddr*>(&other.storage), &other.size) == 0 &&
         own.host() == other.host();
}

void set_options(int socket, Duration patience) {
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(patience).count();
  const int seconds = static_cast<int>(std::clamp<int64_t>(milliseconds / 1000, 1, 3600));
  set_number(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set_number(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_number(socket, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  set_number(socket, IPPROTO_TCP, TCP_KEEPINTVL, seconds);
  set_number(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_number(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(std::min<int64_t>(milliseconds, 3'600'000)));
}

}  // namespace dynamo::transfer
