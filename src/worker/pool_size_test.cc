#include "worker/pool_size.h"

#include <gtest/gtest.h>

namespace dynamo::worker {
namespace {

constexpr uint64_t kMiB = 1ULL << 20;

TEST(PoolSize, OnAHostIsWhatIsAskedForOrSuitsIt) {
  const auto asked = pool_size({.bytes = 32 * kMiB}, /*model_context=*/8192, /*block_bytes=*/kMiB, std::nullopt);
  EXPECT_EQ(asked->blocks, 32U);
  EXPECT_EQ(asked->context_length, 512U);
  const auto usual = pool_size({}, 2048, kMiB, std::nullopt);
  EXPECT_EQ(usual->blocks, 256U);
  EXPECT_EQ(usual->context_length, 2048U);
  const auto large_blocks = pool_size({}, 131072, 4 * kMiB, std::nullopt);
  EXPECT_EQ(large_blocks->blocks, 8192U / 16 + 1);
  EXPECT_EQ(large_blocks->context_length, 8208U);
  EXPECT_EQ(pool_size({.context_length = 100}, 8192, kMiB, std::nullopt)->context_length, 100U);
}

TEST(PoolSize, OnADeviceOfItsOwnMemoryIsNineTenthsOfWhatIsLeft) {
  EXPECT_EQ(pool_size({}, 131072, kMiB, 10000 * kMiB)->blocks, 9000U);
  EXPECT_EQ(pool_size({.bytes = 300 * kMiB}, 131072, kMiB, 10000 * kMiB)->blocks, 300U);
}

TEST(PoolSize, SaysWhatDoesNotFit) {
  const auto text = [](PoolWishes wishes, uint64_t block_bytes, std::optional<uint64_t> free, Code code) {
    const auto refused = pool_size(wishes, 8192, block_bytes, free);
    EXPECT_EQ(refused.status().code(), code);
    return refused.status().text();
  };
  EXPECT_NE(text({.bytes = 3 * kMiB}, 2 * kMiB, std::nullopt, Code::kInvalid).find("kv_cache_bytes 3145728 (3 MiB)"),
            std::string::npos);
  EXPECT_NE(text({.context_length = 9000}, kMiB, std::nullopt, Code::kInvalid).find("8192"), std::string::npos);
  const std::string large = text({.bytes = 500 * kMiB}, kMiB, 400 * kMiB, Code::kExhausted);
  EXPECT_NE(large.find("400 MiB left"), std::string::npos);
  EXPECT_NE(large.find("500 MiB"), std::string::npos);
  EXPECT_NE(text({}, kMiB, kMiB, Code::kExhausted).find("1 MiB left"), std::string::npos);
}

}  // namespace
}  // namespace dynamo::worker
