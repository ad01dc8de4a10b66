#include "base/status.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/log_output.h"

namespace dynamo {

void check_failed(const char* file, int line, const char* expression, const std::string& detail) {
  log::write_last_words(
      fmt::format("CHECK failed at {}:{}: {}{}{}\n", file, line, expression, detail.empty() ? "" : ": ", detail));
  std::abort();
}

std::string_view code_name(Code code) {
  switch (code) {
    case Code::kOk:
      return "ok";
    case Code::kInvalid:
      return "invalid";
    case Code::kNotFound:
      return "not_found";
    case Code::kExhausted:
      return "exhausted";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kDeadline:
      return "deadline";
    case Code::kCancelled:
      return "cancelled";
    case Code::kCorrupt:
      return "corrupt";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kInternal:
      return "internal";
  }
  return "unknown";
}

Status::Status(Code code, std::string text) {
  CHECK(code != Code::kOk);
  failure_ = std::make_shared<const Failure>(Failure{code, std::move(text)});
}

const std::string& Status::text() const {
  static const std::string kEmpty;
  return failure_ ? failure_->text : kEmpty;
}

std::string Status::to_string() const {
  if (is_ok()) return "ok";
  return std::string(code_name(code())) + ": " + text();
}

Status Status::with(std::string_view context) const {
  if (is_ok()) return *this;
  return Status(code(), std::string(context) + ": " + text());
}

}  // namespace dynamo
