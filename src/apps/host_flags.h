// The values of flags that name hosts, checked while the command line is read: a wrong one is named with its flag and how it is written.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

#include "base/host_port.h"

namespace dynamo::apps {

// A host alone: ->transform() takes the brackets off an IPv6 address.
inline CLI::Validator host_value() {
  return CLI::Validator(
      [](std::string& text) {
        auto host = parse_host(text);
        if (!host.is_ok()) return host.status().text();
        text = std::move(host).value();
        return std::string();
      },
      "HOST");
}

// host:port, with an IPv6 address in brackets.
inline CLI::Validator host_port_value() {
  return CLI::Validator([](std::string& text) { return HostPort::parse(text).status().text(); }, "ADDRESS");
}

}  // namespace dynamo::apps
