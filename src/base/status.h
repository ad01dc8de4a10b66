// What may go wrong and how it is said: Status, Result<T>, and the macros that pass them up.
//
// Everything that input, a peer, a disk or a device can cause is a Status; our own bugs are CHECKs (base/check.h).
// Nothing of ours throws; an exception of a library becomes a Status at the call that may raise it. The code says what
// the caller may do, the text is for people. Threads: values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace dynamo {

enum class Code : uint8_t {
  kOk,
  kInvalid,      // the request or input is wrong; the same call will fail again
  kNotFound,     // what was named does not exist
  kExhausted,    // no room now; later may do
  kUnavailable,  // this place cannot serve; another may
  kDeadline,     // time ran out
  kCancelled,    // the caller gave up
  kCorrupt,      // stored or received bytes are not what they claim to be
  kUnsupported,  // right, but not done here
  kInternal,     // a bug or a broken machine
};

// The code's name as logs show it: "invalid", "not_found", ...
std::string_view code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // success
  Status(Code code, std::string text);

  bool is_ok() const { return failure_ == nullptr; }
  Code code() const { return failure_ ? failure_->code : Code::kOk; }
  const std::string& text() const;
  // "invalid: text", or "ok".
  std::string to_string() const;

  // The same failure with what was being done put before its text: "reading block 7: short read". Success stays
  // success.
  Status with(std::string_view context) const;

 private:
  struct Failure {
    Code code;
    std::string text;
  };
  std::shared_ptr<const Failure> failure_;
};

inline Status invalid(std::string text) {
  return Status(Code::kInvalid, std::move(text));
}
inline Status not_found(std::string text) {
  return Status(Code::kNotFound, std::move(text));
}
inline Status exhausted(std::string text) {
  return Status(Code::kExhausted, std::move(text));
}
inline Status unavailable(std::string text) {
  return Status(Code::kUnavailable, std::move(text));
}
inline Status deadline(std::string text) {
  return Status(Code::kDeadline, std::move(text));
}
inline Status cancelled(std::string text) {
  return Status(Code::kCancelled, std::move(text));
}
inline Status corrupt(std::string text) {
  return Status(Code::kCorrupt, std::move(text));
}
inline Status unsupported(std::string text) {
  return Status(Code::kUnsupported, std::move(text));
}
inline Status internal(std::string text) {
  return Status(Code::kInternal, std::move(text));
}

// A value or the Status that stands in its way. Requires: a Status put in is a failure; value() only when is_ok().
template <class T>
class [[nodiscard]] Result {
 public:
  Result() : Result(internal("no result was set")) {}  // for what must be made before it is filled
  Result(T value) : value_(std::move(value)) {}        // NOLINT: implicit, so that `return value;` works
  Result(Status status) : status_(std::move(status)) { CHECK(!status_.is_ok()); }  // NOLINT

  bool is_ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & {
    CHECK_OK(*this);
    return *value_;
  }
  const T& value() const& {
    CHECK_OK(*this);
    return *value_;
  }
  T&& value() && {
    CHECK_OK(*this);
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

namespace detail {
inline const Status& status_of(const Status& status) {
  return status;
}
template <class T>
const Status& status_of(const Result<T>& result) {
  return result.status();
}
}  // namespace detail

}  // namespace dynamo

#define DYNAMO_CONCAT_(a, b) a##b
#define DYNAMO_CONCAT(a, b) DYNAMO_CONCAT_(a, b)
#define DYNAMO_TRY_(return_, decl, expr, temporary)                     \
  auto temporary = (expr);                                              \
  if (!temporary.is_ok()) return_ ::dynamo::Status(temporary.status()); \
  decl = std::move(temporary).value()
// TRY(auto x, expr): expr is a Result; its value initialises x, or its Status is returned from this function.
#define TRY(decl, expr) DYNAMO_TRY_(return, decl, expr, DYNAMO_CONCAT(try_result_, __LINE__))
#define CO_TRY(decl, expr) DYNAMO_TRY_(co_return, decl, expr, DYNAMO_CONCAT(try_result_, __LINE__))
// TRY_STATUS(expr): expr is a Status or Result; a failure is returned from this function.
#define TRY_STATUS(expr)                                                                                \
  do {                                                                                                  \
    if (auto try_status_ = ::dynamo::detail::status_of(expr); !try_status_.is_ok()) return try_status_; \
  } while (0)
#define CO_TRY_STATUS(expr)                                                                                \
  do {                                                                                                     \
    if (auto try_status_ = ::dynamo::detail::status_of(expr); !try_status_.is_ok()) co_return try_status_; \
  } while (0)
