#include "frontend/snapshot_fetcher.h"

#include <vector>

namespace dynamo::frontend {
namespace {

constexpr Duration kFetchTimeout = std::chrono::seconds(30);

Task<void> fetch(const ModelCatalog* catalog, uint64_t instance) {
  const auto router = catalog->router_of(instance);
  const auto remote = catalog->remote_of(instance);
  if (!router || !remote) co_return;  // it left
  const auto snapshot = co_await remote->fetch_blocks(Clock::steady().now() + kFetchTimeout);
  if (!snapshot.is_ok()) {
    router->on_no_snapshot(instance, snapshot.status());
    co_return;
  }
  router->on_snapshot(instance, snapshot->last_event, snapshot->blocks);
}

}  // namespace

std::function<void(uint64_t)> fetch_snapshots(const ModelCatalog* catalog, std::shared_ptr<TaskScope> scope) {
  return [catalog, scope = std::move(scope)](uint64_t instance) {
    scope->spawn([catalog, instance] { return fetch(catalog, instance); });
  };
}

}  // namespace dynamo::frontend
