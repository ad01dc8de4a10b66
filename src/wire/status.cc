#include "wire/status.h"

#include <array>

#include "wire/messages.pb.h"
#include "wire/parse.h"

namespace dynamo::wire {
namespace {

constexpr std::array kCodes = {Code::kInvalid,     Code::kNotFound,    Code::kExhausted,
                               Code::kUnavailable, Code::kDeadline,    Code::kCancelled,
                               Code::kCorrupt,     Code::kUnsupported, Code::kInternal};

// Not within a character.
std::string cut(std::string text) {
  constexpr std::string_view kMore = "...";
  if (text.size() <= kMostFailureBytes) return text;
  size_t end = kMostFailureBytes - kMore.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.replace(end, std::string::npos, kMore);
}

}  // namespace

std::string to_bytes(const Status& failure) {
  CHECK(!failure.is_ok());
  proto::Failure message;
  message.set_code(std::string(code_name(failure.code())));
  message.set_text(cut(failure.text()));
  return message.SerializeAsString();
}

Status failure_from_bytes(std::string_view bytes) {
  proto::Failure message;
  if (!parse(bytes, &message) || message.code().empty()) return corrupt("an error that cannot be read");
  for (const Code code : kCodes)
    if (code_name(code) == message.code()) return Status(code, cut(message.text()));
  return internal(cut(message.code() + ": " + message.text()));
}

}  // namespace dynamo::wire
