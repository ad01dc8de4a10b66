#include "worker/native_host.h"

#include "model/testing/smollm2.h"
#include "worker/testing/engine_host_contract.h"

namespace dynamo::worker {
namespace {

// With the default model, if it is there.
std::unique_ptr<EngineHost> make(bool moves_blocks, IoThreads* io, Metrics* metrics) {
  NativeHostOptions options;
  options.model_path = model::testing::smollm2_path();
  if (options.model_path.empty()) return nullptr;
  options.worker.kv_cache_bytes = 32U << 20;
  if (moves_blocks) options.handoffs = part_over_tcp();
  return make_native_host(std::move(options), io, metrics);
}

INSTANTIATE_TEST_SUITE_P(Native, EngineHostContract, testing::Values(make));

TEST(NativeHost, AModelThatIsNotThereIsSaid) {
  IoThreads io(1);
  Metrics metrics;
  NativeHostOptions options;
  options.model_path = "absent.gguf";
  const auto host = make_native_host(std::move(options), &io, &metrics);
  const Status status = host->start("worker-1", nullptr, [](double) {});
  EXPECT_THAT(status.text(), testing::HasSubstr("absent.gguf"));
  host->stop(Clock::steady().now());
}

}  // namespace
}  // namespace dynamo::worker
