// The Registry in etcd 3.4 or later.
//
// One thread keeps the leases and makes the store agree with what was wished; each watch has a thread of its own, which lists, then
// watches from that revision on, and after an outage lists again and tells the difference.
// Source: etcd's v3 gRPC API.  Environment and keys: docs/reference/discovery.md.  Threads: as Registry.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "discovery/registry.h"

namespace dynamo::discovery {

struct EtcdOptions {
  std::vector<std::string> endpoints;  // "http://host:port", or https for all of them
  std::string username;                // empty: no authentication
  std::string password;
  std::string ca_file;    // PEM; empty: the system's
  std::string cert_file;  // PEM, of the client; with key_file
  std::string key_file;
};

// Reads ETCD_ENDPOINTS: endpoints with commas between; "host:port" alone means http. Errors: kInvalid (names what is wrong).
Result<EtcdOptions> etcd_options_from(std::string_view endpoints);

class EtcdRegistry : public Registry {
 public:
  // Returns once etcd has answered. Errors: kInvalid (TLS files, credentials: at once), kUnavailable (nobody answered until `until`:
  // the endpoints, the last reason and the remedy).
  static Result<std::unique_ptr<EtcdRegistry>> connect(EtcdOptions options, Time until);
};

}  // namespace dynamo::discovery
