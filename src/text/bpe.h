// One piece of text to token ids: byte pair encoding over bytes.
//
// The merge of best rank goes first, of equal ones the leftmost, until none is left. Most pieces are one token and are
// found whole; which tokens may be found so is worked out once, in create().
// Source: Sennrich et al. 2016, section 3.2.  Threads: immutable after create().  Private to the module.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "text/tokenizer_spec.h"

namespace dynamo::text {

inline constexpr TokenId kNoToken = std::numeric_limits<TokenId>::max();

// The bytes of every token, one after the other.
class TokenBytes {
 public:
  // Errors: kInvalid (more than 4 GiB of text).
  static Result<TokenBytes> create(std::span<const std::string> tokens);
  std::string_view operator[](TokenId id) const {
    return std::string_view(bytes_).substr(ends_[id], ends_[id + 1] - ends_[id]);
  }
  size_t size() const { return ends_.size() - 1; }

 private:
  std::string bytes_;
  std::vector<uint32_t> ends_ = {0};
};

// Token of a byte string.
class PieceTable {
 public:
  void create(const TokenBytes* tokens, const std::vector<bool>& is_included);
  struct Found {
    TokenId id = kNoToken;
    bool is_whole = false;  // the piece's encoding is this one token
  };
  Found find(std::string_view piece) const { return find(piece, hash_of(piece)); }
  void set_whole(std::string_view piece) { slots_[slot_of(piece, hash_of(piece))].is_whole = true; }

  // find() in two steps, so that the memory of the next pieces is on its way while one is looked at.
  static uint64_t hash_of(std::string_view piece);
  void prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[hash & mask_]); }
  Found find(std::string_view piece, uint64_t hash) const {
    const Slot& slot = slots_[slot_of(piece, hash)];
    return {slot.id, slot.is_whole != 0};
  }

 private:
  struct Slot {
    uint64_t head = 0;  // the first eight bytes
    TokenId id = kNoToken;
    uint32_t size : 31 = 0;
    uint32_t is_whole : 1 = 0;
  };
  // The slot that holds `piece`, or the free one where it would be.
  size_t slot_of(std::string_view piece, uint64_t hash) const;

  const TokenBytes* tokens_ = nullptr;
  std::vector<Slot> slots_;
  uint64_t mask_ = 0;
};

// What two neighbouring tokens become.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank = std::numeric_limits<uint32_t>::max();  // lower is better; this one: no merge
    TokenId id = kNoToken;
  };
  explicit MergeTable(size_t merges = 0);
  // Requires: put at most as many as the constructor was told. A pair put again takes the later rank.
  void put(TokenId left, TokenId right, Merge merge);
  Merge find(TokenId left, TokenId right) const { return slots_[slot_of(key_of(left, right))].merge; }

 private:
  static constexpr uint64_t kFree = std::numeric_limits<uint64_t>::max();
  struct Slot {
    uint64_t key = kFree;
    Merge merge;
  };
  static uint64_t key_of(TokenId left, TokenId right) { return uint64_t{left} << 32 | right; }
  size_t slot_of(uint64_t key) const {
    uint64_t at = (key * 0x9E3779B97F4A7C15u) >> shift_;
    while (slots_[at].key != key && slots_[at].key != kFree) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  std::vector<Slot> slots_;
  unsigned shift_ = 0;
};

class Bpe {
 public:
  // Takes the vocabulary and the merges of `spec`; its added tokens just have bytes and never come out of encode().
  // Errors: kInvalid (a merge of unknown tokens, by name and place; too much text).
  // Requires: the ids of the added tokens are below 2^24.
  static Result<Bpe> create(const TokenizerSpec& spec);

  // Appends the tokens of the pieces of `text`, which end at `ends`. Bytes that the vocabulary does not have are left out.
  // Cost: linear in the text, times the logarithm of a piece's length where it is long.
  void encode(std::string_view text, std::span<const size_t> ends, std::vector<TokenId>* out) const;

  // Returns: the token of the vocabulary that is written `token`, or kNoToken.
  TokenId find(std::string_view token) const;
  std::string_view bytes(TokenId id) const { return (*tokens_)[id]; }
  size_t size() const { return tokens_->size(); }

 private:
  Status add_merges(const std::vector<std::pair<std::string, std::string>>& merges);
  void mark_whole_pieces(bool ignores_merges);
  void merge(std::string_view piece, std::vector<TokenId>* out) const;
  size_t merge_short(std::string_view piece, TokenId* tokens) const;
  void merge_long(std::string_view piece, std::vector<TokenId>* out) const;

  std::unique_ptr<TokenBytes> tokens_;
  PieceTable pieces_;
  std::unordered_map<std::string, TokenId> unwritable_;  // tokens that are not in the byte alphabet
  MergeTable merges_;
  std::array<TokenId, 256> byte_tokens_;
};

}  // namespace dynamo::text
