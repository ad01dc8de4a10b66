#include "mocker/mock_host.h"

#include "worker/testing/engine_host_contract.h"

namespace dynamo::worker {
namespace {

std::unique_ptr<EngineHost> make(bool moves_blocks, IoThreads* io, Metrics* metrics) {
  mocker::MockHostOptions options;
  options.model = "m";
  options.model_bundle = "bundle";
  options.engine.kv_blocks = 64;
  options.engine.context_length = 512;
  options.engine.vocab_size = 4000;
  options.speedup = 1e6;
  if (moves_blocks) options.handoffs = part_over_tcp();
  return mocker::make_mock_host(std::move(options), io, metrics);
}

INSTANTIATE_TEST_SUITE_P(Mock, EngineHostContract, testing::Values(make));

}  // namespace
}  // namespace dynamo::worker
