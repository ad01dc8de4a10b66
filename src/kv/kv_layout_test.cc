#include "kv/kv_layout.h"

#include <gtest/gtest.h>

namespace dynamo::kv {
namespace {

TEST(KvLayout, Qwen3HasTheBlockSizeOfTheDesign) {
  const KvLayout layout{.layers = 28, .kv_heads = 8, .head_dim = 128, .block_tokens = 16, .dtype = KvDtype::kBF16};
  EXPECT_EQ(layout.token_bytes(), 114688u);
  EXPECT_EQ(layout.block_bytes(), 1792u * 1024);
  EXPECT_EQ(layout.offset(1, 0, 0) * bytes_of(layout.dtype), layout.block_bytes());
  EXPECT_EQ(layout.offset(0, 1, 0), 2 * layout.side_elements());
  EXPECT_EQ(layout.offset(0, 0, 1), layout.side_elements());
}

}  // namespace
}  // namespace dynamo::kv
