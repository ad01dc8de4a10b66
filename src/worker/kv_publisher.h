// Tells routers what a worker's cache holds: numbered events as they happen, and the whole at any time.
//
// Keeps its own sets of the blocks held, so that a snapshot is exactly the state after one numbered event and costs the
// engine nothing. Messages: wire/bus_messages.h; rules: docs/reference/events.md.
// Threads: on_kv_event() on the engine's thread; the rest from any.  Private to the module.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "base/mutex.h"
#include "events/event_bus.h"
#include "kv/kv_event.h"

namespace dynamo::worker {

class KvPublisher final : public kv::KvEventSink {
 public:
  // Publishes on `executor`. `bus` outlives this and everything posted to the executor. Null: nothing is published.
  KvPublisher(boost::asio::any_io_executor executor, events::EventBus* bus, std::string subject, uint64_t instance);
  ~KvPublisher() override;

  void on_kv_event(kv::KvEvent event) override;

  struct Summary {
    uint64_t last_event = 0;  // 0: none yet
    uint64_t digest = 0;      // wrapping sum of the BlockHashes on the device
    uint64_t blocks = 0;      // there
  };
  Summary summary() const;
  // The summary and every block held, at one time.
  std::pair<Summary, kv::PerTier<std::vector<kv::BlockHash>>> snapshot() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dynamo::worker
