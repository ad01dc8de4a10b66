#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <queue>

#include <fmt/format.h>

#include "text/byte_alphabet.h"

namespace dynamo::text {
namespace {

constexpr size_t kShortPiece = 48;  // bytes; up to here a scan for the best merge beats a heap
constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();

uint64_t first_eight(std::string_view bytes) {
  uint64_t head = 0;
  if (bytes.size() >= 8) {
    std::memcpy(&head, bytes.data(), 8);
    return head;
  }
  // Two overlapping loads for 4 to 7 bytes, single ones below.
  if (bytes.size() >= 4) {
    uint32_t low, high;
    std::memcpy(&low, bytes.data(), 4);
    std::memcpy(&high, bytes.data() + bytes.size() - 4, 4);
    return low | uint64_t{high} << (8 * (bytes.size() - 4));
  }
  for (size_t i = 0; i < bytes.size(); ++i) head |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return head;
}

uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

size_t slots_for(size_t entries) {
  return std::bit_ceil(std::max<size_t>(16, entries + entries / 2));
}

}  // namespace

Result<TokenBytes> TokenBytes::create(std::span<const std::string> tokens) {
  TokenBytes table;
  size_t total = 0;
  for (const std::string& token : tokens) total += token.size();
  if (total > std::numeric_limits<uint32_t>::max()) return invalid("the vocabulary holds more than 4 GiB of text");
  table.bytes_.reserve(total);
  table.ends_.reserve(tokens.size() + 1);
  for (const std::string& token : tokens) {
    table.bytes_ += token;
    table.ends_.push_back(static_cast<uint32_t>(table.bytes_.size()));
  }
  return table;
}

void PieceTable::create(const TokenBytes* tokens, const std::vector<bool>& is_included) {
  tokens_ = tokens;
  slots_.assign(slots_for(tokens->size()), Slot{});
  mask_ = slots_.size() - 1;
  for (TokenId id = 0; id < tokens->size(); ++id) {
    if (!is_included[id]) continue;
    const std::string_view bytes = (*tokens)[id];
    Slot& slot = slots_[slot_of(bytes, hash_of(bytes))];
    slot.head = first_eight(bytes);
    slot.id = id;
    slot.size = static_cast<uint32_t>(bytes.size()) & 0x7FFFFFFF;
  }
}

uint64_t PieceTable::hash_of(std::string_view piece) {
  uint64_t hash = mix(first_eight(piece) ^ 0x9E3779B97F4A7C15u, piece.size() ^ 0xD6E8FEB86659FD93u);
  for (size_t at = 8; at < piece.size(); at += 8)
    hash = mix(hash ^ first_eight(piece.substr(at, 8)), 0xA0761D6478BD642Fu);
  return hash;
}

size_t PieceTable::slot_of(std::string_view piece, uint64_t hash) const {
  const uint64_t head = first_eight(piece);
  for (size_t at = hash & mask_;; at = (at + 1) & mask_) {
    const Slot& slot = slots_[at];
    if (slot.id == kNoToken) return at;
    if (slot.head != head || slot.size != piece.size()) continue;
    if (piece.size() <= 8 || piece.substr(8) == (*tokens_)[slot.id].substr(8)) return at;
  }
}

MergeTable::MergeTable(size_t merges) : slots_(slots_for(merges)) {
  shift_ = 64 - static_cast<unsigned>(std::countr_zero(slots_.size()));
}

void MergeTable::put(TokenId left, TokenId right, Merge merge) {
  slots_[slot_of(key_of(left, right))] = {key_of(left, right), merge};
}

Result<Bpe> Bpe::create(const TokenizerSpec& spec) {
  Bpe bpe;
  std::vector<std::string> bytes(spec.vocab.size());
  std::vector<bool> is_piece(spec.vocab.size(), false);
  for (size_t id = 0; id < spec.vocab.size(); ++id) {
    const std::string& token = spec.vocab[id];
    auto written = from_alphabet(token);
    is_piece[id] = written && !token.empty();
    if (!written) bpe.unwritable_[token] = static_cast<TokenId>(id);
    bytes[id] = written ? *std::move(written) : token;
  }
  for (const AddedToken& token : spec.added) {
    if (token.id >= bytes.size()) bytes.resize(token.id + size_t{1});
    bytes[token.id] = from_alphabet(token.content).value_or(token.content);
  }
  is_piece.resize(bytes.size(), false);
  TRY(TokenBytes all_bytes, TokenBytes::create(bytes));
  bpe.tokens_ = std::make_unique<TokenBytes>(std::move(all_bytes));
  bpe.pieces_.create(bpe.tokens_.get(), is_piece);
  for (size_t byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    bpe.byte_tokens_[byte] = bpe.pieces_.find({&c, 1}).id;
  }
  TRY_STATUS(bpe.add_merges(spec.merges));
  bpe.mark_whole_pieces(spec.ignores_merges);
  return bpe;
}

Status Bpe::add_merges(const std::vector<std::pair<std::string, std::string>>& merges) {
  merges_ = MergeTable(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const auto& [left, right] = merges[i];
    const auto left_bytes = from_alphabet(left), right_bytes = from_alphabet(right);
    if (left_bytes && right_bytes) {
      const TokenId a = pieces_.find(*left_bytes).id, b = pieces_.find(*right_bytes).id;
      const TokenId both = pieces_.find(*left_bytes + *right_bytes).id;
      if (a != kNoToken && b != kNoToken && both != kNoToken) {
        merges_.put(a, b, {static_cast<uint32_t>(i), both});
        continue;
      }
    }
    // A merge of tokens outside the byte alphabet never comes to pass, as no text is made of them; but it must be whole.
    for (const std::string& token : {left, right, left + right}) {
      if (find(token) != kNoToken) continue;
      return invalid(fmt::format("merge {} (\"{}\" \"{}\"): \"{}\" is not in the vocabulary", i, left, right, token));
    }
  }
  return Status();
}

void Bpe::mark_whole_pieces(bool ignores_merges) {
  std::vector<TokenId> tokens;
  for (TokenId id = 0; id < size(); ++id) {
    const std::string_view piece = bytes(id);
    if (piece.empty() || pieces_.find(piece).id != id) continue;
    tokens.clear();
    if (!ignores_merges) merge(piece, &tokens);
    if (ignores_merges || (tokens.size() == 1 && tokens[0] == id)) pieces_.set_whole(piece);
  }
}

TokenId Bpe::find(std::string_view token) const {
  if (const auto written = from_alphabet(token)) return pieces_.find(*written).id;
  const auto found = unwritable_.find(std::string(token));
  return found == unwritable_.end() ? kNoToken : found->second;
}

void Bpe::encode(std::string_view text, std::span<const size_t> ends, std::vector<TokenId>* out) const {
  constexpr size_t kAhead = 8;
  std::array<uint64_t, kAhead> hashes;  // of the pieces from `i` on, in a ring
  const auto look_ahead = [&](size_t i) {
    const size_t begin = i == 0 ? 0 : ends[i - 1];
    hashes[i % kAhead] = PieceTable::hash_of(text.substr(begin, ends[i] - begin));
    pieces_.prefetch(hashes[i % kAhead]);
  };
  for (size_t i = 0; i < std::min(kAhead, ends.size()); ++i) look_ahead(i);
  size_t begin = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    const std::string_view piece = text.substr(begin, ends[i] - begin);
    const PieceTable::Found found = pieces_.find(piece, hashes[i % kAhead]);
    if (i + kAhead < ends.size()) look_ahead(i + kAhead);
    if (found.is_whole) {
      out->push_back(found.id);
    } else {
      merge(piece, out);
    }
    begin = ends[i];
  }
}

void Bpe::merge(std::string_view piece, std::vector<TokenId>* out) const {
  if (piece.size() > kShortPiece) return merge_long(piece, out);
  std::array<TokenId, kShortPiece> tokens;
  const size_t count = merge_short(piece, tokens.data());
  out->insert(out->end(), tokens.data(), tokens.data() + count);
}

size_t Bpe::merge_short(std::string_view piece, TokenId* tokens) const {
  size_t count = 0;
  for (const char c : piece) {
    tokens[count] = byte_tokens_[static_cast<unsigned char>(c)];
    if (tokens[count] != kNoToken) ++count;
  }
  std::array<MergeTable::Merge, kShortPiece> merges;  // of each token with the next one
  for (size_t i = 0; i + 1 < count; ++i) merges[i] = merges_.find(tokens[i], tokens[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (merges[i].rank < merges[best].rank) best = i;
    if (merges[best].rank == kNoRank) break;
    tokens[best] = merges[best].id;
    --count;
    std::copy(tokens + best + 2, tokens + count + 1, tokens + best + 1);
    std::copy(merges.data() + best + 1, merges.data() + count, merges.data() + best);
    if (best + 1 < count) merges[best] = merges_.find(tokens[best], tokens[best + 1]);
    if (best > 0) merges[best - 1] = merges_.find(tokens[best - 1], tokens[best]);
  }
  return count;
}

void Bpe::merge_long(std::string_view piece, std::vector<TokenId>* out) const {
  // A doubly linked list of tokens; a heap of the merges of each with the next, which may be out of date.
  struct Node {
    TokenId token;
    uint32_t previous;
    uint32_t next;
    uint32_t rank;  // of the merge with the next one, kNoRank when there is none; a dead node has none
  };
  constexpr uint32_t kEnd = std::numeric_limits<uint32_t>::max();
  std::vector<Node> nodes;
  nodes.reserve(piece.size());
  for (const char c : piece) {
    const TokenId token = byte_tokens_[static_cast<unsigned char>(c)];
    const auto at = static_cast<uint32_t>(nodes.size());
    if (token != kNoToken) nodes.push_back({token, at - 1, at + 1, kNoRank});
  }
  if (nodes.empty()) return;
  nodes.front().previous = kEnd;
  nodes.back().next = kEnd;

  using Candidates = std::vector<uint64_t>;  // rank above, place below
  const auto candidate = [&](uint32_t at) {
    Node& node = nodes[at];
    node.rank = node.next == kEnd ? kNoRank : merges_.find(node.token, nodes[node.next].token).rank;
    return uint64_t{node.rank} << 32 | at;
  };
  Candidates candidates;
  for (uint32_t at = 0; at < nodes.size(); ++at)
    if (const uint64_t found = candidate(at); nodes[at].rank != kNoRank) candidates.push_back(found);
  std::priority_queue heap(std::greater<uint64_t>(), std::move(candidates));
  const auto refresh = [&](uint32_t at) {
    if (const uint64_t found = candidate(at); nodes[at].rank != kNoRank) heap.push(found);
  };
  while (!heap.empty()) {
    const auto rank = static_cast<uint32_t>(heap.top() >> 32);
    const auto at = static_cast<uint32_t>(heap.top());
    heap.pop();
    Node& node = nodes[at];
    if (node.rank != rank) continue;
    Node& gone = nodes[node.next];
    node.token = merges_.find(node.token, gone.token).id;
    node.next = gone.next;
    gone.rank = kNoRank;
    if (node.next != kEnd) nodes[node.next].previous = at;
    refresh(at);
    if (node.previous != kEnd) refresh(node.previous);
  }
  for (uint32_t at = 0; at != kEnd; at = nodes[at].next) out->push_back(nodes[at].token);
}

}  // namespace dynamo::text
