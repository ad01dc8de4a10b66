// Reads a protobuf message.  Private to the module.  Threads: pure functions.
#pragma once

#include <string_view>

namespace dynamo::wire {

template <class Message>
bool parse(std::string_view bytes, Message* message) {
  return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

}  // namespace dynamo::wire
