#include "worker/handoff_host.h"

#include "handoff/decode_side.h"
#include "handoff/prefill_side.h"
#include "handoff/transfer_mover.h"
#include "wire/messages.pb.h"

namespace dynamo::worker {
namespace {

class OwningHost final : public HandoffHost {
 public:
  Status start(HandoffOptions options, engine::Engine* engine, transfer::PoolMemory pool, kv::KvLayout layout,
               uint32_t blocks, IoThreads* io, Metrics* metrics) {
    const MetricLabels labels{{"worker", options.name}};
    handoff::MoverOptions mover;
    mover.pool = pool;
    mover.card.model_digest = std::move(options.model_digest);
    mover.card.layout = layout;
    mover.card.block_bytes = layout.block_bytes();
    mover.card.block_count = blocks;
    mover.name = options.name;
    mover.host = std::move(options.host);
    mover.listen_host = std::move(options.listen_host);
    mover.backend = std::move(options.backend);
    mover.nixl = std::move(options.nixl);
    mover.has_rdma = options.has_rdma;
    TRY(mover_, handoff::make_transfer_mover(std::move(mover)));
    backends_ = mover_->backends();
    const auto executor = io->at(0).get_executor();
    peers_ = handoff::make_remote_peers(executor, std::move(options.identity));
    prefill_ = std::make_unique<handoff::PrefillSide>(layout.block_tokens, engine, mover_.get(), &Clock::steady(),
                                                      metrics, labels);
    handoff::DecodeSideOptions decode;
    decode.block_tokens = layout.block_tokens;
    decode.vocab_size = options.vocab_size;
    decode_ = std::make_unique<handoff::DecodeSide>(decode, engine, mover_.get(), peers_.get(), executor,
                                                    &Clock::steady(), metrics, labels);
    return {};
  }

  std::shared_ptr<engine::PrefillSource> source_of(const GenerateRequest& request) override {
    return decode_->source_of(request);
  }
  Task<std::string> answer(wire::Prefill prefill) override { return prefill_->answer(std::move(prefill)); }
  double transfer_tokens_per_second() const override { return prefill_->transfer_tokens_per_second(); }
  const std::string& backends() const override { return backends_; }

 private:
  std::string backends_;
  std::unique_ptr<handoff::BlockMover> mover_;  // its threads end last: they tell both sides of what they finish
  std::unique_ptr<handoff::PrefillPeers> peers_;
  std::unique_ptr<handoff::PrefillSide> prefill_;
  std::unique_ptr<handoff::DecodeSide> decode_;
};

}  // namespace

Result<std::unique_ptr<HandoffHost>> HandoffHost::start(HandoffOptions options, engine::Engine* engine,
                                                        transfer::PoolMemory pool, kv::KvLayout layout, uint32_t blocks,
                                                        IoThreads* io, Metrics* metrics) {
  auto host = std::make_unique<OwningHost>();
  TRY_STATUS(host->start(std::move(options), engine, pool, layout, blocks, io, metrics));
  return std::unique_ptr<HandoffHost>(std::move(host));
}

}  // namespace dynamo::worker
