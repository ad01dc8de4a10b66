// A client of the hub that says exactly what a test tells it to.
// Threads: one. Every wait ends after ten seconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hub/hub.pb.h"
#include "wire/frame.h"

namespace dynamo::hub {

class RawPeer {
 public:
  explicit RawPeer(uint16_t port);
  ~RawPeer() { vanish(); }
  RawPeer(const RawPeer&) = delete;
  RawPeer& operator=(const RawPeer&) = delete;

  void send_bytes(std::string_view bytes);
  void send(const message::Request& request);
  void greet();  // says hello and takes the hub's

  struct Received {
    wire::FrameType type = wire::FrameType::kPing;
    std::string payload;
  };
  // The next frame; none when the connection has ended.
  std::optional<Received> next();
  // The next message that is no pong; empty when the connection has ended.
  message::FromHub next_message();

  // Ends the connection without a word.
  void vanish();

 private:
  int descriptor_ = -1;
  wire::FrameReader reader_;
};

}  // namespace dynamo::hub
