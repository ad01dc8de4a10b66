#include "transfer/pool_card.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/check.h"
#include "transfer/byte_record.h"
#include "transfer/end_metadata.h"

namespace dynamo::transfer {
namespace {

constexpr uint32_t kMagic = 0x50564b44;  // "DKVP"
constexpr uint32_t kMostBackends = 16;
constexpr uint32_t kMostDimension = 1U << 20;  // of a layout and of tensor parallelism; products of them fit 64 bits

std::string_view name_of(kv::KvDtype dtype) {
  switch (dtype) {
    case kv::KvDtype::kF32:
      return "f32";
    case kv::KvDtype::kF16:
      return "f16";
    case kv::KvDtype::kBF16:
      return "bf16";
  }
  return "unknown";
}

bool is_possible(const PoolCard& card) {
  const kv::KvLayout& layout = card.layout;
  const std::array<uint64_t, 4> sizes = {layout.layers, layout.kv_heads, layout.head_dim, layout.block_tokens};
  unsigned __int128 block_bytes = kv::bytes_of(layout.dtype);
  block_bytes *= 2;  // K and V
  for (const uint64_t size : sizes) {
    if (size == 0 || size > kMostDimension) return false;
    block_bytes *= size;
  }
  return card.tp_size > 0 && card.tp_size <= kMostDimension && card.tp_rank < card.tp_size &&
         block_bytes == card.block_bytes &&
         static_cast<unsigned __int128>(card.block_bytes) * card.block_count <= INT64_MAX;
}

// The heads of all ranks that this one holds.
struct Heads {
  uint64_t first = 0;
  uint64_t end = 0;
};

Heads heads_of(const PoolCard& card) {
  const uint64_t first = uint64_t{card.tp_rank} * card.layout.kv_heads;
  return {first, first + card.layout.kv_heads};
}

// Copies of whole blocks, with neighbours in one.
std::vector<Copy> whole_blocks(uint64_t block_bytes, std::span<const BlockPair> pairs) {
  std::vector<Copy> copies;
  for (const BlockPair& pair : pairs) {
    const Copy next{pair.local * block_bytes, pair.remote * block_bytes, block_bytes};
    const bool is_next = !copies.empty() && copies.back().from + copies.back().bytes == next.from &&
                         copies.back().to + copies.back().bytes == next.to;
    if (is_next) {
      copies.back().bytes += block_bytes;
    } else {
      copies.push_back(next);
    }
  }
  return copies;
}

}  // namespace

std::string PoolCard::to_bytes() const {
  ByteWriter writer;
  writer.number(kMagic);
  writer.number(kVersion);
  writer.text(model_digest);
  for (const uint32_t size : {layout.layers, layout.kv_heads, layout.head_dim, layout.block_tokens})
    writer.number(size);
  writer.number(static_cast<uint8_t>(layout.dtype));
  writer.number(tp_size);
  writer.number(tp_rank);
  writer.number(block_bytes);
  writer.number(block_count);
  writer.text(host);
  writer.number(static_cast<uint32_t>(backends.size()));
  for (const auto& [name, metadata] : backends) {
    writer.text(name);
    writer.text(metadata);
  }
  return with_checksum(writer.take());
}

Result<PoolCard> PoolCard::parse(std::string_view bytes) {
  TRY(const std::string_view checked, without_checksum(bytes));
  ByteReader reader(checked);
  if (reader.number<uint32_t>() != kMagic) return corrupt("these bytes are no pool card");
  const auto version = reader.number<uint32_t>();
  if (version != kVersion)
    return corrupt(fmt::format("a pool card of version {}; this program speaks version {}", version, kVersion));
  PoolCard card;
  card.model_digest = reader.text();
  for (uint32_t* size : {&card.layout.layers, &card.layout.kv_heads, &card.layout.head_dim, &card.layout.block_tokens})
    *size = reader.number<uint32_t>();
  const auto dtype = reader.number<uint8_t>();
  if (dtype > static_cast<uint8_t>(kv::KvDtype::kBF16)) return corrupt(fmt::format("a pool card with dtype {}", dtype));
  card.layout.dtype = static_cast<kv::KvDtype>(dtype);
  card.tp_size = reader.number<uint32_t>();
  card.tp_rank = reader.number<uint32_t>();
  card.block_bytes = reader.number<uint64_t>();
  card.block_count = reader.number<uint64_t>();
  card.host = reader.text();
  const auto backends = reader.number<uint32_t>();
  if (backends > kMostBackends) return corrupt(fmt::format("a pool card with {} backends", backends));
  for (uint32_t at = 0; at < backends; ++at) {
    const std::string_view name = reader.text();
    card.backends.emplace(name, reader.text());
  }
  if (!reader.is_done() || card.backends.size() != backends || !is_possible(card))
    return corrupt("a pool card with fields that cannot be");
  return card;
}

Status check_compatible(const PoolCard& mine, const PoolCard& theirs) {
  if (mine.model_digest != theirs.model_digest)
    return invalid(fmt::format("model: {} here, {} there", mine.model_digest, theirs.model_digest));
  struct Field {
    std::string_view name;
    uint64_t mine;
    uint64_t theirs;
  };
  const auto total_heads = [](const PoolCard& card) { return uint64_t{card.layout.kv_heads} * card.tp_size; };
  const auto head_bytes = [](const PoolCard& card) { return card.block_bytes / std::max(card.layout.kv_heads, 1U); };
  const Field fields[] = {
      {"layers", mine.layout.layers, theirs.layout.layers},
      {"KV heads of all ranks", total_heads(mine), total_heads(theirs)},
      {"head_dim", mine.layout.head_dim, theirs.layout.head_dim},
      {"tokens of a block", mine.layout.block_tokens, theirs.layout.block_tokens},
  };
  for (const Field& field : fields) {
    if (field.mine != field.theirs)
      return invalid(fmt::format("{}: {} here, {} there", field.name, field.mine, field.theirs));
  }
  if (mine.layout.dtype != theirs.layout.dtype)
    return invalid(fmt::format("dtype: {} here, {} there", name_of(mine.layout.dtype), name_of(theirs.layout.dtype)));
  if (head_bytes(mine) != head_bytes(theirs))
    return invalid(fmt::format("bytes of a head in a block: {} here, {} there", head_bytes(mine), head_bytes(theirs)));
  return {};
}

std::vector<Copy> copies_of(const PoolCard& mine, const PoolCard& theirs, std::span<const BlockPair> pairs) {
  DCHECK(check_compatible(mine, theirs).is_ok());
  const Heads here = heads_of(mine);
  const Heads there = heads_of(theirs);
  if (here.first == there.first && here.end == there.end) return whole_blocks(mine.block_bytes, pairs);
  const Heads shared{std::max(here.first, there.first), std::min(here.end, there.end)};
  if (shared.first >= shared.end) return {};
  const uint64_t head_bytes = mine.layout.head_elements() * kv::bytes_of(mine.layout.dtype);
  const uint64_t sides = uint64_t{mine.layout.layers} * 2;
  std::vector<Copy> copies;
  copies.reserve(pairs.size() * sides);
  for (const BlockPair& pair : pairs) {
    for (uint64_t side = 0; side < sides; ++side) {
      const uint64_t from = side * mine.layout.kv_heads + shared.first - here.first;
      const uint64_t to = side * theirs.layout.kv_heads + shared.first - there.first;
      copies.push_back({pair.local * mine.block_bytes + from * head_bytes,
                        pair.remote * theirs.block_bytes + to * head_bytes, (shared.end - shared.first) * head_bytes});
    }
  }
  return copies;
}

std::vector<std::string_view> backends_between(const PoolCard& mine, const PoolCard& theirs, std::string_view wanted) {
  static constexpr std::array<std::string_view, 3> kFastestFirst = {"shm", "nixl", "tcp"};
  std::vector<std::string_view> names;
  for (const std::string_view name : kFastestFirst) {
    const bool have_both = mine.backends.contains(std::string(name)) && theirs.backends.contains(std::string(name));
    const bool can_reach = name != "shm" || mine.host == theirs.host;
    if (have_both && can_reach && (wanted == "auto" || wanted == name)) names.push_back(name);
  }
  return names;
}

}  // namespace dynamo::transfer
