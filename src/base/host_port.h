// Hosts and ports as text: "10.0.0.1:4711", "node-1:4711", "[::1]:4711", "[fe80::1%eth0]:4711".
//
// The one place that joins and splits them. Inside the program a host is a name or a number without brackets, as resolvers take it;
// brackets are of text alone, where a port follows an IPv6 address.
// Threads: values and pure functions.  Sources: RFC 3986, section 3.2.2; RFC 4007, section 11 (zones).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace dynamo {

struct HostPort {
  std::string host;
  uint16_t port = 0;  // never 0 after parse()

  // Errors: kInvalid: the text, what is wrong with it and how to write it. An IPv6 address without brackets is refused: where it ends
  // and the port begins cannot be told.
  static Result<HostPort> parse(std::string_view text);
  // The same where the port may be left out.
  static Result<HostPort> parse(std::string_view text, uint16_t default_port);
  std::string to_string() const;
  bool operator==(const HostPort&) const = default;
};

// Text that HostPort::parse takes. Requires: `host` as parse_host returns it.
std::string host_port_text(std::string_view host, uint16_t port);

// A host alone; an IPv6 address with or without brackets. Returns: it, without them. Errors: kInvalid: the text and what is wrong.
Result<std::string> parse_host(std::string_view text);

}  // namespace dynamo
