// A process's way to the hub: Registry and EventBus over one connection that it renews for ever.
//
// What was wished (keys under leases, watches, subscriptions) is kept here and made true again after each outage, so the hub may
// come and go. A hub that was started again has forgotten everything: for `settle_time` watchers keep keys that nobody has
// announced to it yet. Threads: methods from any; one thread for the connection, one for the callbacks of watches, and one for
// those of each subscription, so that a slow callback stops no sign of life.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "discovery/registry.h"
#include "events/event_bus.h"

namespace dynamo::hub {

class ClientState;

struct HubClientOptions {
  std::string address;                          // host:port of the hub.  --hub
  std::chrono::milliseconds settle_time{2000};  // longer than the longest pause between two attempts to connect (1 s)
};

class HubClient final : public discovery::Registry, public events::EventBus {
 public:
  // Blocks until a hub has answered. Errors: kInvalid (address), kUnavailable (nobody answered until `until`; names the address and
  // the remedy), kUnsupported (the hub speaks another version; names both).
  static Result<std::unique_ptr<HubClient>> connect(HubClientOptions options, Time until);
  ~HubClient() override;
  HubClient(const HubClient&) = delete;
  HubClient& operator=(const HubClient&) = delete;

  std::unique_ptr<discovery::Lease> lease(std::chrono::seconds time_to_live) override;
  std::unique_ptr<discovery::Watch> watch(std::string prefix, discovery::OnChanges on_changes) override;
  Result<std::map<std::string, std::string>> list(std::string prefix, Time until) override;
  Status write(std::string key, std::optional<std::string> value, Time until) override;

  void publish(std::string_view subject, std::string_view data) override;
  std::unique_ptr<events::Subscription> subscribe(std::string pattern, events::OnMessage on_message) override;
  // Errors: kUnavailable also when the connection broke meanwhile: what was under way may be lost.
  Status flush(Time until) override;
  uint64_t dropped() const override;

  bool is_connected() const override;

 private:
  explicit HubClient(std::unique_ptr<ClientState> state);
  std::unique_ptr<ClientState> state_;
};

}  // namespace dynamo::hub
