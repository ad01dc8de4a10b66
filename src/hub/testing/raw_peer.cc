#include "hub/testing/raw_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <span>

#include "base/check.h"
#include "hub/hub_protocol.h"

namespace dynamo::hub {

RawPeer::RawPeer(uint16_t port) : descriptor_(socket(AF_INET, SOCK_STREAM, 0)) {
  const timeval limit{.tv_sec = 10, .tv_usec = 0};
  CHECK(setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
}

void RawPeer::send_bytes(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return;  // the hub has cut us off; next() shows it
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void RawPeer::send(const message::Request& request) {
  send_bytes(frame_of(request));
}

void RawPeer::greet() {
  send_bytes(hello_frame(/*incarnation=*/0));
  const auto answer = next();
  CHECK(answer && answer->type == wire::FrameType::kHello);
}

std::optional<RawPeer::Received> RawPeer::next() {
  std::array<std::byte, 16384> buffer;
  for (;;) {
    const auto frame = reader_.next();
    CHECK_OK(frame);
    if (*frame) return Received{(*frame)->type, std::string((*frame)->payload)};
    const ssize_t count = recv(descriptor_, buffer.data(), buffer.size(), 0);
    if (count <= 0) return std::nullopt;
    reader_.push(std::span(buffer.data(), static_cast<size_t>(count)));
  }
}

message::FromHub RawPeer::next_message() {
  message::FromHub message;
  for (;;) {
    const auto frame = next();
    if (!frame) return {};
    if (frame->type == wire::FrameType::kPong) continue;
    CHECK(frame->type == wire::FrameType::kChunk && message.ParseFromString(frame->payload));
    return message;
  }
}

void RawPeer::vanish() {
  if (descriptor_ >= 0) close(descriptor_);
  descriptor_ = -1;
}

}  // namespace dynamo::hub
