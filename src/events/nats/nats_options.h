// Where the NATS servers are and how to show who we are: what a person writes into NATS_SERVER, checked.
// Threads: values. Spec: docs/reference/events.md.  Private to the module.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace dynamo::events {

struct NatsOptions {
  // "nats://host:4222" or "tls://host"; "user:password@" or "token@" before the host. Tried in this order, again and again.
  std::vector<std::string> servers = {"nats://127.0.0.1:4222"};
  // For servers whose address brings no credentials of its own; either user and password or a token.
  std::string user;
  std::string password;
  std::string token;
  // PEM files. Naming any of them makes every connection use TLS. Without `ca_file` the machine's own authorities count.
  std::string ca_file;
  std::string cert_file;  // with key_file, for servers that ask who the client is
  std::string key_file;
  std::string client_name = "dynamo";  // shown in the server's list of connections
};

// One server's address, taken apart.
struct NatsServer {
  std::string host;  // an IPv6 address without its brackets
  uint16_t port = 4222;
  bool is_tls = false;
  std::string user;
  std::string password;
  std::string token;

  // "tls://host:4222": fit for logs, never with credentials.
  std::string address() const;
};

// Errors: kInvalid says what is wrong with it, without the credentials in it.
Result<NatsServer> parse_nats_server(std::string_view text);

// From addresses separated by commas, as NATS_SERVER holds them; one without a scheme is nats://.
// Errors: kInvalid as above.
Result<NatsOptions> nats_options_from(std::string_view servers);

}  // namespace dynamo::events
