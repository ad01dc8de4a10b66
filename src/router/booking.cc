#include "router/booking.h"

#include "router/router.h"

namespace dynamo::router {

Booking::Booking(std::shared_ptr<Router> router, Flight decode, std::optional<Flight> prefill,
                 std::vector<PrefillPlace> prefill_at, uint64_t partial_tokens)
    : router_(std::move(router)),
      decode_(std::move(decode)),
      prefill_(std::move(prefill)),
      prefill_at_(std::move(prefill_at)),
      partial_tokens_(partial_tokens) {}

Booking::~Booking() {
  end_prefill();
  router_->end(decode_);
}

void Booking::drawn(uint64_t tokens) {
  const uint64_t block_tokens = router_->options().block_tokens;
  const uint64_t blocks = (partial_tokens_ + tokens) / block_tokens;
  partial_tokens_ = (partial_tokens_ + tokens) % block_tokens;
  const bool is_first = !std::exchange(has_drawn_, true);
  if (is_first) end_prefill();
  if (is_first || blocks > 0) router_->progress(decode_, is_first, blocks);
}

void Booking::end_prefill() {
  if (const auto prefill = std::exchange(prefill_, std::nullopt)) router_->end(*prefill);
}

}  // namespace dynamo::router
