#include "transfer/shm_socket.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace dynamo::transfer {
namespace {

constexpr size_t kMostFds = 4;
constexpr size_t kMostMessageBytes = 256;

socklen_t address_of(std::string_view name, sockaddr_un* address) {
  address->sun_family = AF_UNIX;
  CHECK(name.size() < sizeof(address->sun_path));
  std::memcpy(address->sun_path + 1, name.data(), name.size());  // the zero before it makes it abstract
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

}  // namespace

Result<Fd> listen_at(std::string_view abstract_address) {
  sockaddr_un address = {};
  const socklen_t size = address_of(abstract_address, &address);
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open() || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0)
    return unavailable(errno_text("listening for peers of this host"));
  return socket;
}

Result<Fd> connect_to(std::string_view abstract_address) {
  sockaddr_un address = {};
  const socklen_t size = address_of(abstract_address, &address);
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open()) return unavailable(errno_text("a socket"));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0) return socket;
  if (errno == EAGAIN) return exhausted(errno_text("connecting"));
  return unavailable(errno_text("connecting"));
}

Status send_message(int socket, std::string_view bytes, std::span<const int> fds) {
  iovec part = {const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostFds * sizeof(int))> control = {};
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) return unavailable(errno_text("sending to a peer of this host"));
  return {};
}

Result<SocketMessage> receive_message(int socket) {
  SocketMessage received;
  received.bytes.resize(kMostMessageBytes);
  iovec part = {received.bytes.data(), received.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostFds * sizeof(int))> control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return exhausted("nothing there");
  if (count < 0) return unavailable(errno_text("receiving from a peer of this host"));
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = 0; at + CMSG_LEN(sizeof(int)) <= header->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + at, sizeof(fd));
      received.fds.emplace_back(fd);
    }
  }
  if (count == 0) return unavailable("the peer hung up");
  received.bytes.resize(static_cast<size_t>(count));
  return received;
}

}  // namespace dynamo::transfer
