#include "base/host_port.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace dynamo {
namespace {

constexpr size_t kLongestHost = 255;

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kLongestHost && std::ranges::all_of(text, is_name_character);
}

// With or without a zone: "fe80::1%eth0".
bool is_ipv6(std::string_view text) {
  const size_t percent = text.find('%');
  if (percent != std::string_view::npos && !is_name(text.substr(percent + 1))) return false;
  const std::string number(text.substr(0, percent));
  in6_addr ignored;
  return number.find('\0') == std::string::npos && ::inet_pton(AF_INET6, number.c_str(), &ignored) == 1;
}

// What stands in brackets at the beginning; nothing if there are none, or no end of them.
std::optional<std::string_view> bracketed(std::string_view text) {
  const size_t end = text.find(']');
  if (!text.starts_with('[') || end == std::string_view::npos) return std::nullopt;
  return text.substr(1, end - 1);
}

std::optional<uint16_t> parse_port(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

Status wrong(std::string_view text, std::string_view why) {
  return invalid(fmt::format("'{}' is no host:port: {}", text, why));
}

// Of more than one colon and no brackets.
Status ambiguous(std::string_view text) {
  const size_t colon = text.rfind(':');
  const std::string_view before = text.substr(0, colon);
  if (is_ipv6(before) && parse_port(text.substr(colon + 1)))
    return wrong(text,
                 fmt::format("an IPv6 address before a port needs brackets; write [{}]{}", before, text.substr(colon)));
  if (is_ipv6(text))
    return wrong(
        text, fmt::format("the port is missing, and an IPv6 address before it needs brackets; write [{}]:PORT", text));
  return wrong(text, "there is more than one ':'; write name:PORT, 10.0.0.1:PORT or [::1]:PORT");
}

Result<HostPort> parse_with(std::string_view text, std::optional<uint16_t> default_port) {
  HostPort result;
  std::string_view rest;  // from the colon before the port on
  if (text.starts_with('[')) {
    const auto inside = bracketed(text);
    if (!inside) return wrong(text, "']' is missing after '['; write [::1]:PORT");
    if (!is_ipv6(*inside)) return wrong(text, fmt::format("'{}' in brackets is no IPv6 address", *inside));
    result.host = *inside;
    rest = text.substr(inside->size() + 2);
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    result.host = text.substr(0, colon);
    rest = text.substr(colon);
    if (rest.find(':', 1) != std::string_view::npos) return ambiguous(text);
    if (!is_name(result.host))
      return wrong(text, result.host.empty() ? "the host is missing; write name:PORT, 10.0.0.1:PORT or [::1]:PORT"
                                             : fmt::format("'{}' is no host name and no address", result.host));
  }
  if (rest.empty() && default_port) {
    result.port = *default_port;
    return result;
  }
  if (rest.empty()) return wrong(text, fmt::format("the port is missing; write {}:PORT", text));
  const auto port = rest.starts_with(':') ? parse_port(rest.substr(1)) : std::nullopt;
  if (!port) return wrong(text, fmt::format("'{}' is no ':' and port, which is a number from 1 to 65535", rest));
  result.port = *port;
  return result;
}

}  // namespace

Result<HostPort> HostPort::parse(std::string_view text) {
  return parse_with(text, std::nullopt);
}

Result<HostPort> HostPort::parse(std::string_view text, uint16_t default_port) {
  return parse_with(text, default_port);
}

std::string HostPort::to_string() const {
  return host_port_text(host, port);
}

std::string host_port_text(std::string_view host, uint16_t port) {
  return host.find(':') == std::string_view::npos ? fmt::format("{}:{}", host, port)
                                                  : fmt::format("[{}]:{}", host, port);
}

Result<std::string> parse_host(std::string_view text) {
  const auto inside = bracketed(text);
  if (inside && inside->size() + 2 == text.size() && is_ipv6(*inside)) return std::string(*inside);
  if (is_ipv6(text) || is_name(text)) return std::string(text);
  if (const auto both = HostPort::parse(text); both.is_ok())
    return invalid(fmt::format("'{}' is a host with a port; write the host alone, {}", text, both->host));
  return invalid(fmt::format("'{}' is no host: write a name, an IPv4 address, or an IPv6 address such as ::1", text));
}

}  // namespace dynamo
