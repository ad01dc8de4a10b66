#include "events/nats/nats_options.h"

#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "base/host_port.h"

namespace dynamo::events {
namespace {

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// Credentials may hold '@', ':' or '/' as "%40", "%3A", "%2F".
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string plain;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      plain += text[at];
      continue;
    }
    uint8_t byte = 0;
    const std::string_view digits = text.substr(at + 1, 2);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (error != std::errc() || end != digits.data() + 2 || byte == 0) return std::nullopt;
    plain += static_cast<char>(byte);
    at += 2;
  }
  return plain;
}

Status parse_credentials(std::string_view text, NatsServer& server) {
  const size_t colon = text.find(':');
  const auto first = percent_decoded(text.substr(0, colon));
  const auto second = colon == std::string_view::npos ? std::string() : percent_decoded(text.substr(colon + 1));
  if (!first || !second) return invalid("NATS address: a '%' in the credentials is not followed by two hex digits");
  if (first->empty()) return invalid("NATS address: nothing before '@'; write user:password@ or token@");
  if (colon == std::string_view::npos) {
    server.token = *first;
  } else {
    server.user = *first;
    server.password = *second;
  }
  return {};
}

}  // namespace

std::string NatsServer::address() const {
  return fmt::format("{}://{}", is_tls ? "tls" : "nats", host_port_text(host, port));
}

Result<NatsServer> parse_nats_server(std::string_view text) {
  NatsServer server;
  text = trimmed(text);
  if (const size_t scheme_end = text.find("://"); scheme_end != std::string_view::npos) {
    const std::string_view scheme = text.substr(0, scheme_end);
    if (scheme != "nats" && scheme != "tls")
      return invalid(fmt::format("NATS address with scheme '{}': write nats:// or tls://", scheme));
    server.is_tls = scheme == "tls";
    text.remove_prefix(scheme_end + 3);
  }
  if (const size_t at = text.rfind('@'); at != std::string_view::npos) {
    TRY_STATUS(parse_credentials(text.substr(0, at), server));
    text.remove_prefix(at + 1);
  }
  if (text.ends_with('/')) text.remove_suffix(1);
  auto parsed = HostPort::parse(text, server.port);
  if (!parsed.is_ok()) return parsed.status().with("NATS address");
  server.host = std::move(parsed->host);
  server.port = parsed->port;
  return server;
}

Result<NatsOptions> nats_options_from(std::string_view servers) {
  NatsOptions options;
  options.servers.clear();
  for (;;) {
    const size_t comma = servers.find(',');
    const std::string_view server = trimmed(servers.substr(0, comma));
    if (server.empty()) return invalid("NATS address is empty; write nats://host:4222");
    TRY_STATUS(parse_nats_server(server));
    options.servers.emplace_back(server);
    if (comma == std::string_view::npos) return options;
    servers.remove_prefix(comma + 1);
  }
}

}  // namespace dynamo::events
