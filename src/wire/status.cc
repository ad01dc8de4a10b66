#include "wire/status.h"

#include <array>

#include "wire/messages.pb.h"

namespace dynamo::wire {
namespace {

constexpr std::array kCodes = {Code::kInvalid,     Code::kNotFound,    Code::kExhausted,
                               Code::kUnavailable, Code::kDeadline,    Code::kCancelled,
                               Code::kCorrupt,     Code::kUnsupported, Code::kInternal};

}  // namespace

std::string to_bytes(const Status& failure) {
  CHECK(!failure.is_ok());
  Failure message;
  message.set_code(std::string(code_name(failure.code())));
  message.set_text(failure.text());
  return message.SerializeAsString();
}

Status failure_from_bytes(std::string_view bytes) {
  Failure message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || message.code().empty())
    return corrupt("an error that cannot be read");
  for (const Code code : kCodes)
    if (code_name(code) == message.code()) return Status(code, message.text());
  return internal(message.code() + ": " + message.text());
}

}  // namespace dynamo::wire
