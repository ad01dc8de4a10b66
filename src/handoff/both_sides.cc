#include "handoff/both_sides.h"

#include <utility>

#include "handoff/decode_side.h"
#include "handoff/prefill_side.h"
#include "handoff/transfer_mover.h"

namespace dynamo::handoff {

BothSides::~BothSides() = default;

Result<std::unique_ptr<BothSides>> BothSides::start(PartOptions options, PartOfEngine of, const std::string& name,
                                                    IoThreads* io, Metrics* metrics) {
  std::unique_ptr<BothSides> sides(new BothSides);
  const MetricLabels labels{{"worker", name}};
  MoverOptions mover;
  mover.pool = of.pool;
  mover.card.model_digest = std::move(of.model_digest);
  mover.card.layout = of.layout;
  mover.card.block_bytes = of.layout.block_bytes();
  mover.card.block_count = of.blocks;
  mover.name = name;
  mover.host = std::move(options.host);
  mover.listen_host = std::move(options.listen_host);
  mover.backend = std::move(options.backend);
  mover.nixl = std::move(options.nixl);
  mover.has_rdma = options.has_rdma;
  TRY(sides->mover_, make_transfer_mover(std::move(mover)));
  const auto executor = io->at(0).get_executor();
  sides->peers_ = make_remote_peers(executor, std::move(options.identity));
  sides->prefill_ = std::make_unique<PrefillSide>(of.layout.block_tokens, of.engine, sides->mover_.get(),
                                                  &Clock::steady(), metrics, labels);
  DecodeSideOptions decode;
  decode.block_tokens = of.layout.block_tokens;
  decode.vocab_size = of.vocab_size;
  sides->decode_ = std::make_unique<DecodeSide>(decode, of.engine, sides->mover_.get(), sides->peers_.get(), executor,
                                                &Clock::steady(), metrics, labels);
  return sides;
}

std::shared_ptr<engine::BlockSource> BothSides::source_of(const GenerateRequest& request) {
  return decode_->source_of(request);
}

Task<Result<PrefillReport>> BothSides::answer(PrefillOrder order) {
  return prefill_->answer(std::move(order));
}

double BothSides::transfer_tokens_per_second() const {
  return prefill_->transfer_tokens_per_second();
}

std::string BothSides::backends() const {
  return mover_->backends();
}

}  // namespace dynamo::handoff
