#include "events/nats/nats_connection.h"

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mutex.h"
#include "events/nats/callback_table.h"

namespace dynamo::events {

// The destructor empties it under the mutex: it waits for a call that is running, and none follows.
struct NatsConnection::ClosedSignal {
  Mutex mu;
  std::condition_variable_any closed;
  std::optional<std::string> why_closed GUARDED_BY(mu);
  OnClosed on_closed GUARDED_BY(mu);
};

namespace {

using std::chrono::milliseconds;

// A server that is gone without a word is noticed when the fourth ping finds three without answer.
constexpr milliseconds kPingInterval(1000);
constexpr int kPingsWithoutAnswer = 3;
constexpr milliseconds kWriteDeadline(2000);
constexpr int kWriteBufferBytes = 64 << 10;

CallbackTable<DeliveryQueue>& queues() {
  static CallbackTable<DeliveryQueue> table;
  return table;
}

template <class Signal>
CallbackTable<Signal>& closed_signals() {
  static CallbackTable<Signal> table;
  return table;
}

struct OptionsDeleter {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
};
using OptionsPointer = std::unique_ptr<natsOptions, OptionsDeleter>;

void handle_message(natsConnection*, natsSubscription*, natsMsg* message, void* handle) {
  if (const auto queue = queues().find(handle)) {
    queue->push(natsMsg_GetSubject(message),
                {natsMsg_GetData(message), static_cast<size_t>(natsMsg_GetDataLength(message))});
  }
  natsMsg_Destroy(message);
}

void handle_error(natsConnection* connection, natsSubscription*, natsStatus status, void*) {
  if (status != NATS_NOT_PERMITTED) return;  // the others end the connection, which is logged once
  const char* text = nullptr;
  natsConnection_GetLastError(connection, &text);
  LOG(warn, "NATS server refuses a subject", {"why", text != nullptr ? text : natsStatus_GetText(status)});
}

// The detail begins with libnats's own "(file.c:123): ".
std::string library_text(natsStatus status) {
  const std::string_view text = natsStatus_GetText(status);
  const char* last = nats_GetLastError(nullptr);
  std::string_view detail = last == nullptr ? "" : last;
  if (const size_t end = detail.find("): "); detail.starts_with('(') && end != std::string_view::npos)
    detail.remove_prefix(end + 3);
  return detail.empty() || detail == text ? std::string(text) : fmt::format("{} ({})", text, detail);
}

Status check_readable(std::string_view what, const std::string& file) {
  if (file.empty() || std::ifstream(file).peek() != std::ifstream::traits_type::eof()) return {};
  return invalid(fmt::format("NATS {} '{}' cannot be read", what, file));
}

Status set_tls(natsOptions* native, const NatsOptions& options, const NatsServer& server) {
  TRY_STATUS(check_readable("CA file", options.ca_file));
  TRY_STATUS(check_readable("certificate file", options.cert_file));
  TRY_STATUS(check_readable("key file", options.key_file));
  if (options.cert_file.empty() != options.key_file.empty())
    return invalid("NATS TLS: a certificate file and its key file go together; one is missing");
  const bool is_tls = server.is_tls || !options.ca_file.empty() || !options.cert_file.empty();
  natsStatus status =
      natsOptions_SetExpectedHostname(native, server.host.c_str());  // a server may ask for TLS by itself
  if (status == NATS_OK && is_tls) status = natsOptions_SetSecure(native, true);
  if (status == NATS_OK && !options.ca_file.empty())
    status = natsOptions_LoadCATrustedCertificates(native, options.ca_file.c_str());
  if (status == NATS_OK && !options.cert_file.empty())
    status = natsOptions_LoadCertificatesChain(native, options.cert_file.c_str(), options.key_file.c_str());
  if (status != NATS_OK) return invalid(fmt::format("NATS TLS files: {}", library_text(status)));
  return {};
}

natsStatus set_credentials(natsOptions* native, const NatsOptions& options, const NatsServer& server) {
  const bool is_own = !server.user.empty() || !server.token.empty();
  const std::string& user = is_own ? server.user : options.user;
  const std::string& password = is_own ? server.password : options.password;
  const std::string& token = is_own ? server.token : options.token;
  if (!user.empty()) return natsOptions_SetUserInfo(native, user.c_str(), password.c_str());
  if (!token.empty()) return natsOptions_SetToken(native, token.c_str());
  return NATS_OK;
}

Result<OptionsPointer> native_options(const NatsOptions& options, const NatsServer& server, milliseconds timeout) {
  natsOptions* created = nullptr;
  natsStatus status = natsOptions_Create(&created);
  OptionsPointer native(created);
  const auto set = [&status](natsStatus next) {
    if (status == NATS_OK) status = next;
  };
  if (status == NATS_OK) {
    NatsServer plain = server;
    plain.is_tls = false;
    set(natsOptions_SetURL(created, plain.address().c_str()));
    set(set_credentials(created, options, server));
    set(natsOptions_SetName(created, options.client_name.c_str()));
    set(natsOptions_SetTimeout(created, std::max<int64_t>(1, timeout.count())));
    set(natsOptions_SetAllowReconnect(created, false));
    set(natsOptions_SetPingInterval(created, kPingInterval.count()));
    set(natsOptions_SetMaxPingsOut(created, kPingsWithoutAnswer));
    set(natsOptions_SetWriteDeadline(created, kWriteDeadline.count()));
    set(natsOptions_SetIOBufSize(created, kWriteBufferBytes));
    set(natsOptions_UseGlobalMessageDelivery(created, true));  // it only fills our DeliveryQueues
    set(natsOptions_SetErrorHandler(created, handle_error, nullptr));
  }
  if (status != NATS_OK) return internal(fmt::format("libnats: {}", library_text(status)));
  TRY_STATUS(set_tls(created, options, server));
  return native;
}

Status dial_failure(natsStatus status, const NatsServer& server) {
  const std::string text = library_text(status);
  const std::string address = server.address();
  switch (status) {
    case NATS_CONNECTION_AUTH_FAILED:
      return invalid(fmt::format("NATS server {} refuses the credentials: {}", address, text));
    case NATS_SECURE_CONNECTION_REQUIRED:
      return invalid(fmt::format("NATS server {} takes only TLS: write tls:// instead of nats://", address));
    case NATS_SECURE_CONNECTION_WANTED:
      return invalid(fmt::format("NATS server {} offers no TLS: write nats:// and name no TLS files", address));
    case NATS_SSL_ERROR:
      if (text.find("cert") == std::string::npos) break;  // "certificate expired", "hostname mismatch ... cert=/CN=..."
      return invalid(fmt::format("NATS server {} has no certificate that we trust: {}", address, text));
    default:
      break;
  }
  return unavailable(fmt::format("{}: {}", address, text));
}

}  // namespace

NatsConnection::NatsConnection() : closed_signal_(std::make_shared<ClosedSignal>()) {
  closed_handle_ = closed_signals<ClosedSignal>().add(closed_signal_);
}

NatsConnection::~NatsConnection() {
  for (const uint64_t id : subscriptions()) {
    queues().remove(subscriptions_.at(id).handle);
    ended_.push_back(subscriptions_.at(id).native);
  }
  {
    MutexLock lock(closed_signal_->mu);
    closed_signal_->on_closed = nullptr;
  }
  if (connection_ != nullptr) {
    natsConnection_Close(connection_);
    // libnats calls back once the connection's threads have ended, whoever closed it.
    MutexLock lock(closed_signal_->mu);
    while (!closed_signal_->why_closed) closed_signal_->closed.wait(closed_signal_->mu);
  }
  closed_signals<ClosedSignal>().remove(closed_handle_);
  free_ended();
  natsConnection_Destroy(connection_);
}

void NatsConnection::free_ended() {
  for (natsSubscription* native : ended_) natsSubscription_Destroy(native);
  ended_.clear();
}

void NatsConnection::handle_closed(natsConnection* connection, void* handle) {
  const auto signal = closed_signals<ClosedSignal>().find(handle);
  if (signal == nullptr) return;
  MutexLock lock(signal->mu);
  const char* text = nullptr;
  const natsStatus status = natsConnection_GetLastError(connection, &text);
  signal->why_closed = status == NATS_OK ? "the server closed the connection" : natsStatus_GetText(status);
  if (signal->on_closed) signal->on_closed(*signal->why_closed);
  signal->closed.notify_all();
}

void NatsConnection::tell_when_closed(OnClosed on_closed) {
  MutexLock lock(closed_signal_->mu);
  closed_signal_->on_closed = std::move(on_closed);
  if (closed_signal_->why_closed) closed_signal_->on_closed(*closed_signal_->why_closed);
}

Result<std::unique_ptr<NatsConnection>> NatsConnection::open(const NatsOptions& options, const NatsServer& server,
                                                             milliseconds timeout, OnClosed on_closed) {
  std::unique_ptr<NatsConnection> opened(new NatsConnection);
  TRY_STATUS(opened->dial(options, server, timeout));
  opened->tell_when_closed(std::move(on_closed));
  return opened;
}

Status NatsConnection::dial(const NatsOptions& options, const NatsServer& server, milliseconds timeout) {
  TRY(const OptionsPointer native, native_options(options, server, timeout));
  natsStatus status = natsOptions_SetClosedCB(native.get(), handle_closed, closed_handle_);
  if (status == NATS_OK) status = natsConnection_Connect(&connection_, native.get());
  return status == NATS_OK ? Status() : dial_failure(status, server);
}

Status NatsConnection::publish(const MessageView& message) {
  const natsStatus status = natsConnection_Publish(connection_, message.subject.data(), message.data.data(),
                                                   static_cast<int>(message.data.size()));
  if (status == NATS_OK) return {};
  std::string text = library_text(status);
  if (status == NATS_MAX_PAYLOAD) return invalid(std::move(text));
  if (status == NATS_CONNECTION_CLOSED) return unavailable(std::move(text));
  return deadline(std::move(text));
}

Status NatsConnection::subscribe(uint64_t id, const std::string& pattern, std::shared_ptr<DeliveryQueue> queue) {
  void* handle = queues().add(std::move(queue));
  natsSubscription* native = nullptr;
  natsStatus status = natsConnection_Subscribe(&native, connection_, pattern.c_str(), handle_message, handle);
  if (status != NATS_OK) {
    queues().remove(handle);
    return unavailable(library_text(status));
  }
  subscriptions_.emplace(id, NativeSubscription{native, handle});
  status = natsSubscription_SetPendingLimits(native, -1, -1);  // the DeliveryQueue has the limit
  return status == NATS_OK ? Status() : unavailable(library_text(status));
}

void NatsConnection::unsubscribe(uint64_t id) {
  const auto found = subscriptions_.find(id);
  CHECK(found != subscriptions_.end());
  queues().remove(found->second.handle);
  natsSubscription_Unsubscribe(found->second.native);
  ended_.push_back(found->second.native);
  subscriptions_.erase(found);
}

std::vector<uint64_t> NatsConnection::subscriptions() const {
  std::vector<uint64_t> ids;
  for (const auto& [id, subscription] : subscriptions_) ids.push_back(id);
  return ids;
}

// libnats 3.4 reports success, too, when it could not write its ping; only its thread's last error tells. Nobody clears that,
// so a call that cannot succeed leaves a known one first.
Status NatsConnection::flush(milliseconds timeout) {
  natsStatus last = natsConnection_FlushTimeout(connection_, 0);
  const natsStatus mark = last;
  const natsStatus status = natsConnection_FlushTimeout(connection_, std::max<int64_t>(1, timeout.count()));
  if (status == NATS_TIMEOUT) return deadline(library_text(status));
  if (status != NATS_OK) return unavailable(library_text(status));
  nats_GetLastError(&last);
  if (last != mark && last != NATS_OK) return unavailable(library_text(last));
  free_ended();
  return {};
}

}  // namespace dynamo::events
