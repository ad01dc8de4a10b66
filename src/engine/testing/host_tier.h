// Memory of the host as a tier below the device, for tests: keeps what an engine computes and brings it back, block by
// block, when the test says so and not before.
// Threads: the engine's.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "engine/block_pool.h"
#include "engine/engine_core.h"
#include "engine/handoff.h"

namespace dynamo::engine {

class HostTier {
 public:
  // `device` [blocks][block_bytes] are the bytes of the engine's pool. They and `events` outlive it.
  HostTier(uint32_t blocks, uint32_t block_tokens, std::span<char> device, size_t block_bytes, kv::KvEventSink* events)
      : directory(blocks, block_tokens, events, kv::Tier::kHost),
        block_tokens_(block_tokens),
        block_bytes_(block_bytes),
        device_(device),
        bytes_(blocks * block_bytes) {}

  // What a request is given to the engine with. `core` is that engine.
  Handoff handoff_of(const kv::Prompt& prompt, EngineCore* core) {
    const auto both = std::make_shared<OneRequest>(this, prompt, core);
    return {.source = both, .target = both};
  }
  // Makes the next copy of a transfer, if one is under way; which, `random` says.
  void copy_one(std::mt19937_64* random) {
    if (transfers_.empty()) return;
    const size_t at = (*random)() % transfers_.size();
    const std::function<void()> copy = transfers_[at].front();
    transfers_[at].erase(transfers_[at].begin());
    if (transfers_[at].empty()) transfers_.erase(transfers_.begin() + static_cast<ptrdiff_t>(at));
    copy();
  }
  bool is_copying() const { return !transfers_.empty(); }

  BlockPool directory;
  size_t kept = 0;     // blocks
  size_t brought = 0;  // blocks
  // How bringing a prompt's blocks ends; null: with prefill_here(), keeping them.
  std::function<void(SequenceId id, uint32_t attempt)> end;

 private:
  using Transfer = std::vector<std::function<void()>>;  // copies that are left, in order

  class OneRequest final : public BlockSource, public BlockTarget, public std::enable_shared_from_this<OneRequest> {
   public:
    OneRequest(HostTier* tier, const kv::Prompt& prompt, EngineCore* core)
        : tier_(tier), prompt_(prompt), chain_(kv::hash_chain(prompt, tier->block_tokens_)), core_(core) {}

    bool has_more(uint32_t cached_tokens) const override {
      const auto known = tier_->directory.match(prompt_, wanted());
      release(known);
      return known.size() * tier_->block_tokens_ > cached_tokens;
    }
    void on_reserved(SequenceId id, uint32_t attempt, uint32_t cached_tokens, std::vector<BlockId> blocks) override {
      const auto known = tier_->directory.match(prompt_, wanted());  // held until all are copied
      Transfer bringing;
      for (size_t i = cached_tokens / tier_->block_tokens_; i < known.size(); ++i) {
        bringing.emplace_back([self = shared_from_this(), this, id, attempt, i, to = blocks[i], from = known[i]] {
          std::memcpy(tier_->on_device(to), tier_->in_host(from), tier_->block_bytes_);
          ++tier_->brought;
          core_->received(id, attempt, static_cast<uint32_t>(i + 1) * tier_->block_tokens_);
        });
      }
      bringing.emplace_back([self = shared_from_this(), this, id, attempt, known, blocks = std::move(blocks)] {
        release(known);
        if (tier_->end) {
          tier_->end(id, attempt);
        } else {
          core_->prefill_here(id, attempt, /*keeps_received=*/true);
        }
        core_->release(blocks);
      });
      tier_->transfers_.push_back(std::move(bringing));
    }
    void on_given_up(SequenceId) override {}  // its blocks are held until all is copied, and then given back

    void on_started(SequenceId) override {}
    void on_computed(SequenceId, uint32_t computed, uint32_t first_new, std::vector<BlockId> blocks) override {
      Transfer keeping;
      for (size_t i = first_new; i < std::min<size_t>(computed / tier_->block_tokens_, chain_.size()); ++i)
        keeping.emplace_back([self = shared_from_this(), this, i, from = blocks[i]] { keep(i, from); });
      keeping.emplace_back([self = shared_from_this(), this, blocks = std::move(blocks)] { core_->release(blocks); });
      tier_->transfers_.push_back(std::move(keeping));
    }

   private:
    // The engine computes the last token in any case.
    std::span<const kv::BlockHash> wanted() const {
      return std::span(chain_).first(std::min(chain_.size(), (prompt_.size() - 1) / tier_->block_tokens_));
    }
    void release(const std::vector<BlockId>& known) const {
      for (auto block = known.rbegin(); block != known.rend(); ++block) tier_->directory.release(*block);
    }
    // Unless it is there, or what it follows is not, or all of the tier is held.
    void keep(size_t i, BlockId from) {
      auto known = tier_->directory.match(prompt_, std::span(chain_).first(i + 1));
      const auto room = known.size() == i ? tier_->directory.allocate() : std::nullopt;
      if (room) {
        std::memcpy(tier_->in_host(*room), tier_->on_device(from), tier_->block_bytes_);
        ++tier_->kept;
        std::vector<uint32_t> scratch;
        known.push_back(tier_->directory.store(*room, chain_[i],
                                               {.parent = i == 0 ? std::nullopt : std::optional(known.back()),
                                                .words = kv::block_words(prompt_, tier_->block_tokens_, i, &scratch)}));
      }
      release(known);
    }

    HostTier* const tier_;
    const kv::Prompt prompt_;
    const std::vector<kv::BlockHash> chain_;
    EngineCore* const core_;
  };

  char* on_device(BlockId block) { return device_.data() + block.value * block_bytes_; }
  char* in_host(BlockId block) { return bytes_.data() + block.value * block_bytes_; }

  const uint32_t block_tokens_;
  const size_t block_bytes_;
  const std::span<char> device_;
  std::vector<char> bytes_;
  std::vector<Transfer> transfers_;  // whose copies are made in order, but for each other in any
};

}  // namespace dynamo::engine
