#include "router/router.h"

#include "router/routed_generation.h"
#include "router/router_state.h"

namespace dynamo::router {

Router::Router(RouterOptions options, RouterHooks hooks, Metrics* metrics, std::string name, const Clock* clock)
    : state_(std::make_shared<State>(std::move(options), std::move(hooks), metrics, std::move(name), clock)) {}
Router::~Router() = default;

Status Router::add_worker(RoutedWorker worker) {
  return state_->add_worker(std::move(worker));
}
void Router::remove_worker(uint64_t instance) {
  state_->remove_worker(instance);
}
size_t Router::workers() const {
  return state_->workers();
}
void Router::on_events(uint64_t from, std::string_view message) {
  state_->on_events(from, message);
}
void Router::on_heartbeat(uint64_t from, std::string_view message) {
  state_->on_heartbeat(from, message);
}
void Router::on_router_notice(std::string_view message) {
  state_->on_router_notice(message);
}
void Router::on_snapshot(uint64_t instance, uint64_t last_event, std::span<const kv::BlockHash> blocks) {
  state_->on_snapshot(instance, last_event, blocks);
}
void Router::on_no_snapshot(uint64_t instance, const Status& why) {
  state_->on_no_snapshot(instance, why);
}
void Router::set(RouterSettings settings) {
  state_->set(settings);
}
size_t Router::answering_workers() const {
  return state_->answering_workers();
}
RouterSettings Router::settings() const {
  return state_->settings();
}
std::vector<WorkerView> Router::view() const {
  return state_->view();
}
Decisions Router::decisions(size_t last, std::string_view request_id) const {
  return state_->decisions(last, request_id);
}
size_t Router::in_flight() const {
  return state_->in_flight();
}

Task<Result<std::unique_ptr<Generation>>> Router::generate(GenerateRequest request) {
  const auto state = state_;
  if (request.prompt.empty()) co_return invalid("the prompt is empty");
  // A seed of ours lets a sampled answer that breaks off go on as the same text.
  if (!request.sampling.seed && request.sampling.temperature > 0) request.sampling.seed = state->draw();
  auto routed = std::make_unique<RoutedGeneration>(state, std::move(request));
  Status status = co_await routed->dispatch(Status());
  if (!status.is_ok()) co_return status;
  co_return std::unique_ptr<Generation>(std::move(routed));
}

}  // namespace dynamo::router
