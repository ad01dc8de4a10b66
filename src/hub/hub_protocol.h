// The hub's protocol as both sides need it: version, limits, and messages to frames.
// Format: docs/reference/hub.md, hub.proto, wire/frame.h. Threads: pure functions.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "hub/hub.pb.h"

namespace dynamo::hub {

inline constexpr uint32_t kProtocolVersion = 1;
inline constexpr std::chrono::milliseconds kPingInterval{500};  // a client's; an answer is as good as a pong
inline constexpr std::chrono::seconds kMaxSilence{10};          // after which either side cuts the connection
inline constexpr size_t kMaxKeyBytes = 1024;                    // a key, prefix, subject or pattern
inline constexpr size_t kMaxInterests = 16384;                  // watches, and subscriptions, of one client
inline constexpr size_t kWriteBytes = 256U << 10;               // frames are gathered into writes of about this size

std::string hello_frame(uint64_t incarnation);
std::string error_frame(std::string_view text);
std::string ping_frame();
std::string pong_frame();
std::string frame_of(const message::Request& request);
std::string frame_of(const message::FromHub& from_hub);
// The request that publishes this event, after what is in `frames`.
void append_publish(std::string_view subject, std::string_view data, std::string* frames);

// Reads a hello and compares versions. Returns: the hub's incarnation. Errors: kCorrupt (no hello), kUnsupported (names both versions).
Result<uint64_t> read_hello(std::string_view payload, std::string_view who);

// Errors: kInvalid (empty parts, wildcards, blanks, length).
Status check_subject(std::string_view subject);
// As a subject, with '*' and a last '>'.
Status check_pattern(std::string_view pattern);

}  // namespace dynamo::hub
