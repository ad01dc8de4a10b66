#include "hub/hub_protocol.h"

#include <fmt/format.h>

#include "wire/frame.h"

namespace dynamo::hub {
namespace {

using wire::FrameType;

std::string frame_of_type(FrameType type, std::string_view payload) {
  std::string frame;
  frame.reserve(wire::kFrameHeaderBytes + payload.size());
  wire::append_frame(type, /*stream=*/0, payload, &frame);
  return frame;
}

Status check_parts(std::string_view text, bool is_pattern) {
  const std::string_view what = is_pattern ? "pattern" : "subject";
  if (text.size() > kMaxKeyBytes)
    return invalid(fmt::format("a {} of {} bytes; at most {}", what, text.size(), kMaxKeyBytes));
  for (std::string_view rest = text;;) {
    const size_t end = rest.find('.');
    const std::string_view part = rest.substr(0, end);
    const bool is_last = end == std::string_view::npos;
    if (part.empty()) return invalid(fmt::format("a {} with an empty part", what));
    const bool is_wildcard = is_pattern && (part == "*" || (part == ">" && is_last));
    if (!is_wildcard && part.find_first_of("*> \t\r\n") != std::string_view::npos)
      return invalid(fmt::format("a {} with a wildcard or blank where none may be", what));
    if (is_last) return {};
    rest.remove_prefix(end + 1);
  }
}

}  // namespace

std::string hello_frame(uint64_t incarnation) {
  message::Hello hello;
  hello.set_version(kProtocolVersion);
  hello.set_incarnation(incarnation);
  return frame_of_type(FrameType::kHello, hello.SerializeAsString());
}

std::string error_frame(std::string_view text) {
  return frame_of_type(FrameType::kError, text);
}
std::string ping_frame() {
  return frame_of_type(FrameType::kPing, "");
}
std::string pong_frame() {
  return frame_of_type(FrameType::kPong, "");
}
std::string frame_of(const message::Request& request) {
  return frame_of_type(FrameType::kRequest, request.SerializeAsString());
}
std::string frame_of(const message::FromHub& from_hub) {
  return frame_of_type(FrameType::kChunk, from_hub.SerializeAsString());
}
void append_publish(std::string_view subject, std::string_view data, std::string* frames) {
  message::Request request;
  request.mutable_publish()->set_subject(subject.data(), subject.size());
  request.mutable_publish()->set_data(data.data(), data.size());
  wire::append_frame(FrameType::kRequest, /*stream=*/0, request.SerializeAsString(), frames);
}

Result<uint64_t> read_hello(std::string_view payload, std::string_view who) {
  message::Hello hello;
  if (!hello.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return corrupt(fmt::format("the first frame of the {} is no hello", who));
  if (hello.version() != kProtocolVersion) {
    return unsupported(
        fmt::format("the {} speaks version {} of the hub's protocol, this program version {}; run the same release "
                    "on both sides",
                    who, hello.version(), kProtocolVersion));
  }
  return hello.incarnation();
}

Status check_subject(std::string_view subject) {
  return check_parts(subject, /*is_pattern=*/false);
}
Status check_pattern(std::string_view pattern) {
  return check_parts(pattern, /*is_pattern=*/true);
}

}  // namespace dynamo::hub
