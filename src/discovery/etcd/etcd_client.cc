#include "discovery/etcd/etcd_client.h"

#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include "base/host_port.h"

namespace dynamo::discovery {
namespace {

constexpr Duration kOneTry = std::chrono::seconds(2);   // at one endpoint
constexpr Duration kConnect = std::chrono::seconds(1);  // of that, to get a connection
// At least so long a call may take, so that one that fails at once says why, and not that time is over.
constexpr Duration kShortest = std::chrono::milliseconds(50);

// As gRPC's own steady time: a jump of the wall clock moves no deadline.
gpr_timespec deadline_at(Time time) {
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(time - Clock::steady().now());
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(left.count(), GPR_TIMESPAN));
}

// The deadline of one try of what must be done until then.
gpr_timespec one_try(Time until) {
  const Time now = Clock::steady().now();
  return deadline_at(std::max(std::min(until, now + kOneTry), now + kShortest));
}

// Waits until there is a connection, or a first attempt has failed. gRPC gets on with connecting only while somebody waits in it, and
// calls that find no connection do not.
void connect(grpc::Channel* channel, Time until) {
  const gpr_timespec deadline = deadline_at(std::min(until, Clock::steady().now() + kConnect));
  auto state = channel->GetState(/*try_to_connect=*/true);
  while (state != GRPC_CHANNEL_READY && channel->WaitForStateChange(state, deadline)) {
    state = channel->GetState(/*try_to_connect=*/true);
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE) return;
  }
}

Result<std::string> read_file(const std::string& path, const char* variable) {
  if (path.empty()) return std::string();
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return invalid(fmt::format("{}: cannot read {}", variable, path));
  return text.str();
}

Result<std::shared_ptr<grpc::ChannelCredentials>> credentials_for(const EtcdOptions& options) {
  if (!options.endpoints.front().starts_with("https://")) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions tls;
  TRY(tls.pem_root_certs, read_file(options.ca_file, "ETCD_AUTH_CA"));
  TRY(tls.pem_cert_chain, read_file(options.cert_file, "ETCD_AUTH_CLIENT_CERT"));
  TRY(tls.pem_private_key, read_file(options.key_file, "ETCD_AUTH_CLIENT_KEY"));
  return grpc::SslCredentials(tls);
}

// Whether a token is missing, old or of another etcd.
bool is_about_token(const grpc::Status& status) {
  return status.error_code() == grpc::UNAUTHENTICATED ||
         status.error_message().find("auth token") != std::string::npos ||
         status.error_message().find("auth store is old") != std::string::npos ||
         status.error_message().find("user name is empty") != std::string::npos;
}

// Whether etcd shows a certificate that is not to be trusted.
bool is_about_certificate(const grpc::Status& status) {
  return status.error_message().find("certificate verify failed") != std::string::npos ||
         status.error_message().find("not in peer certificate") != std::string::npos;
}

bool is_about_endpoint(const grpc::Status& status) {
  return status.error_code() == grpc::UNAVAILABLE || status.error_code() == grpc::DEADLINE_EXCEEDED ||
         status.error_code() == grpc::CANCELLED || status.error_code() == grpc::INTERNAL ||
         status.error_code() == grpc::UNKNOWN;
}

}  // namespace

Result<EtcdOptions> etcd_options_from(std::string_view endpoints) {
  EtcdOptions options;
  while (!endpoints.empty()) {
    const std::string_view endpoint = endpoints.substr(0, endpoints.find(','));
    endpoints.remove_prefix(std::min(endpoints.size(), endpoint.size() + 1));
    const size_t scheme_end = endpoint.find("://");
    const std::string_view scheme = scheme_end == std::string_view::npos ? "http" : endpoint.substr(0, scheme_end);
    std::string_view address = scheme_end == std::string_view::npos ? endpoint : endpoint.substr(scheme_end + 3);
    if (address.ends_with('/')) address.remove_suffix(1);
    if (scheme != "http" && scheme != "https")
      return invalid(
          fmt::format("ETCD_ENDPOINTS: '{}' has the scheme '{}'; etcd is at http:// or https://", endpoint, scheme));
    const auto server = HostPort::parse(address);
    if (!server.is_ok())
      return server.status().with(fmt::format("ETCD_ENDPOINTS: '{}' is not http://host:port", endpoint));
    options.endpoints.push_back(fmt::format("{}://{}", scheme, server->to_string()));
    if (options.endpoints.front().substr(0, 6) != options.endpoints.back().substr(0, 6))
      return invalid("ETCD_ENDPOINTS: all endpoints must have one scheme, http or https");
  }
  if (options.endpoints.empty()) return invalid("ETCD_ENDPOINTS is empty; it names etcd as http://host:2379");
  return options;
}

Result<std::unique_ptr<EtcdClient>> EtcdClient::create(EtcdOptions options) {
  CHECK(!options.endpoints.empty());
  TRY(const auto credentials, credentials_for(options));
  gpr_set_log_function([](gpr_log_func_args*) {});  // what gRPC has to say comes with the status of a call
  auto client = std::unique_ptr<EtcdClient>(new EtcdClient);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 6000);  // etcd refuses more than one in 5 s
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);  // which is what an attempt may take
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(-1);  // a view may be larger than gRPC's 4 MiB
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  MutexLock lock(client->mutex_);
  for (const std::string& endpoint : options.endpoints) {
    client->addresses_ += (client->addresses_.empty() ? "" : ",") + endpoint;
    client->channels_.push_back(
        grpc::CreateCustomChannel(endpoint.substr(endpoint.find("://") + 3), credentials, arguments));
  }
  client->options_ = std::move(options);
  return client;
}

std::shared_ptr<grpc::Channel> EtcdClient::channel() const {
  MutexLock lock(mutex_);
  return channels_[current_];
}

void EtcdClient::put_token(grpc::ClientContext* context) const {
  MutexLock lock(mutex_);
  if (!token_.empty()) context->AddMetadata("token", token_);
}

void EtcdClient::give_up(const std::shared_ptr<grpc::Channel>& channel) {
  MutexLock lock(mutex_);
  if (channels_[current_] == channel) current_ = (current_ + 1) % channels_.size();
}

void EtcdClient::forget_token() {
  MutexLock lock(mutex_);
  token_.clear();
}

Status EtcdClient::log_in(const std::shared_ptr<grpc::Channel>& channel, Time until) {
  if (options_.username.empty()) return {};
  {
    MutexLock lock(mutex_);
    if (!token_.empty()) return {};
  }
  grpc::ClientContext context;
  context.set_deadline(one_try(until));
  etcdserverpb::AuthenticateRequest request;
  request.set_name(options_.username);
  request.set_password(options_.password);
  etcdserverpb::AuthenticateResponse response;
  const grpc::Status status = etcdserverpb::Auth::NewStub(channel)->Authenticate(&context, request, &response);
  if (is_about_endpoint(status) && status.error_message().find("authentication failed") == std::string::npos)
    return Status(is_about_certificate(status) ? Code::kCorrupt : Code::kUnavailable,
                  fmt::format("etcd at {}: {}", addresses_, status.error_message()));
  if (!status.ok()) {
    return invalid(fmt::format("etcd at {} refuses user '{}': {} (ETCD_AUTH_USERNAME, ETCD_AUTH_PASSWORD)", addresses_,
                               options_.username, status.error_message()));
  }
  MutexLock lock(mutex_);
  token_ = response.token();
  return {};
}

Status EtcdClient::call(Time until, const Call& call, bool* may_come_late) {
  size_t tries = 0;
  {
    MutexLock lock(mutex_);
    tries = channels_.size() + 1;
  }
  Status failure = unavailable("not tried");
  for (size_t i = 0; i < tries && (i == 0 || Clock::steady().now() < until); ++i) {
    const auto at = channel();
    connect(at.get(), until);
    failure = log_in(at, until);
    if (failure.code() == Code::kInvalid) return failure;
    if (!failure.is_ok()) {
      give_up(at);
      continue;
    }
    grpc::ClientContext context;
    context.set_deadline(one_try(until));
    put_token(&context);
    const grpc::Status status = call(at, &context);
    if (status.ok()) return {};
    failure = unavailable(fmt::format("etcd at {}: {}", addresses_, status.error_message()));
    if (is_about_certificate(status)) {
      failure = Status(Code::kCorrupt, failure.text());
      give_up(at);
    } else if (is_about_token(status)) {
      if (options_.username.empty())
        return invalid(fmt::format("etcd at {} wants a user: {} (ETCD_AUTH_USERNAME, ETCD_AUTH_PASSWORD)", addresses_,
                                   status.error_message()));
      forget_token();
    } else if (is_about_endpoint(status)) {
      give_up(at);
      if (may_come_late != nullptr) *may_come_late = true;
    } else {
      return Status(status.error_code() == grpc::NOT_FOUND ? Code::kNotFound : Code::kInvalid, failure.text());
    }
  }
  return failure;
}

}  // namespace dynamo::discovery
