#include "router/worker_table.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace dynamo::router {
namespace {

std::pair<size_t, std::string_view> order_of(const std::shared_ptr<Worker>& worker) {
  return {worker->routed.name.size(), worker->routed.name};
}

}  // namespace

Status WorkerTable::may_add(uint64_t instance) const {
  const auto there = find(instance);
  if (!there) return {};
  return invalid(fmt::format("worker {:016x} is there already, as {}", instance, there->routed.name));
}

Status WorkerTable::add(std::shared_ptr<Worker> worker) {
  TRY_STATUS(may_add(worker->routed.instance));
  by_instance_.emplace(worker->routed.instance, worker);
  load_.add_worker(worker->slot);
  slots_ = std::max<size_t>(slots_, worker->slot.index + 1);
  prefill_workers_ += worker->routed.serves == Serves::kPrefill;
  show_load(*worker);
  by_name_.insert(std::ranges::upper_bound(by_name_, order_of(worker), {}, order_of), std::move(worker));
  return {};
}

std::shared_ptr<Worker> WorkerTable::remove(uint64_t instance) {
  auto node = by_instance_.extract(instance);
  if (node.empty()) return nullptr;
  std::shared_ptr<Worker> worker = std::move(node.mapped());
  load_.remove_worker(worker->slot);
  prefill_workers_ -= worker->routed.serves == Serves::kPrefill;
  show_load(*worker);
  std::erase(by_name_, worker);
  return worker;
}

std::shared_ptr<Worker> WorkerTable::find(uint64_t instance) const {
  const auto found = by_instance_.find(instance);
  return found == by_instance_.end() ? nullptr : found->second;
}

WorkerState WorkerTable::state_of(const Worker& worker, std::optional<double> busy_threshold, Time now) const {
  if (!worker.is_reachable()) return WorkerState::kConnecting;
  if (!worker.has_blocks()) return WorkerState::kLoadingIndex;
  return is_busy(worker, busy_threshold, now) ? WorkerState::kBusy : WorkerState::kReady;
}

bool WorkerTable::is_busy(const Worker& worker, std::optional<double> busy_threshold, Time now) const {
  if (!busy_threshold || worker.routed.total_blocks == 0) return false;
  const auto used = static_cast<double>(worker.report.used_blocks(load_of(worker), now));
  return used > *busy_threshold * worker.routed.total_blocks;
}

WorkerView WorkerTable::view(const Worker& worker, std::optional<double> busy_threshold, Time now) const {
  const WorkerLoad& load = load_of(worker);
  WorkerView view;
  view.instance = worker.routed.instance;
  view.name = worker.routed.name;
  view.state = state_of(worker, busy_threshold, now);
  view.active_requests = load.requests;
  view.queued_tokens = load.prefill_tokens;
  view.active_blocks = load.blocks;
  view.total_blocks = worker.routed.total_blocks;
  if (worker.feed) view.index_state = worker.feed->state();
  return view;
}

ActiveLoad::Id WorkerTable::start(Worker* worker, uint64_t prefill_tokens, std::span<const kv::BlockHash> chain) {
  const ActiveLoad::Id id = load_.add(worker->slot, prefill_tokens, chain);
  worker->report.on_load(load_of(*worker));
  show_load(*worker);
  return id;
}

void WorkerTable::end_prefill(ActiveLoad::Id id, uint64_t instance) {
  load_.prefill_done(id);
  show_load(instance);
}

void WorkerTable::grow(ActiveLoad::Id id, uint64_t instance, uint64_t blocks) {
  load_.grow(id, blocks);
  show_load(instance);
}

void WorkerTable::end(ActiveLoad::Id id, uint64_t instance) {
  load_.free(id);
  show_load(instance);
}

void WorkerTable::show_load(const Worker& worker) const {
  const WorkerLoad& load = load_of(worker);
  worker.metrics.active_requests->Set(static_cast<double>(load.requests));
  worker.metrics.active_blocks->Set(static_cast<double>(load.blocks));
  worker.metrics.pending_tokens->Set(static_cast<double>(load.prefill_tokens));
}

void WorkerTable::show_load(uint64_t instance) const {
  if (const auto found = by_instance_.find(instance); found != by_instance_.end()) show_load(*found->second);
}

}  // namespace dynamo::router
