// How the bytes of KV blocks lie in a pool: what two workers must share before one writes into the other.
//
//   [block][layer][K|V][kv_head][token][head_dim]
//
// A block of all layers is one contiguous range (one transfer), and a slice of its heads is contiguous inside each
// layer (another tensor-parallel size). Why: docs/decisions/0005-kv-layout.md.  Threads: values.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace dynamo::kv {

enum class KvDtype : uint8_t { kF32, kF16, kBF16 };

constexpr size_t bytes_of(KvDtype dtype) {
  return dtype == KvDtype::kF32 ? 4 : 2;
}

// Tokens of a KV block: the default, and the most that one may have.
inline constexpr uint32_t kDefaultBlockTokens = 16;
inline constexpr uint32_t kMostBlockTokens = 256;
// Errors: kInvalid ("block_tokens 300: must be in [1, 256]").
Status check_block_tokens(uint32_t block_tokens);

struct KvLayout {
  uint32_t layers = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t block_tokens = kDefaultBlockTokens;
  KvDtype dtype = KvDtype::kF16;

  bool operator==(const KvLayout&) const = default;

  size_t head_elements() const { return size_t{block_tokens} * head_dim; }  // one head of K or V in one block
  size_t side_elements() const { return kv_heads * head_elements(); }       // K or V of one layer in one block
  size_t block_elements() const { return size_t{layers} * 2 * side_elements(); }
  size_t block_bytes() const { return block_elements() * bytes_of(dtype); }
  size_t token_bytes() const { return size_t{layers} * 2 * kv_heads * head_dim * bytes_of(dtype); }
  // Elements from the pool's start to K (side 0) or V (side 1) of `layer` in `block`.
  size_t offset(uint32_t block, uint32_t layer, uint32_t side) const {
    return block * block_elements() + (size_t{layer} * 2 + side) * side_elements();
  }
};

}  // namespace dynamo::kv
