#include "openai/generation_set.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <utility>

#include "base/check.h"

namespace dynamo::openai {

// Shared with the coroutines that wait for a chunk: a cancelled one ends only after it was woken.
struct GenerationSet::State {
  struct Slot {
    std::unique_ptr<Generation> generation;  // null once over
    bool is_waiting = false;                 // a coroutine is inside generation->next()
    bool is_dropped = false;
    boost::asio::cancellation_signal cancel;
  };

  explicit State(size_t count) : slots(count) {}

  void end(Slot* slot) {
    slot->generation.reset();
    --running;
  }
  void take(uint32_t choice, Result<TokenChunk> chunk) {
    Slot& slot = slots[choice];
    if (!chunk.is_ok() || chunk->finish) end(&slot);
    arrived.push_back(Arrival{choice, std::move(chunk)});
  }
  void on_read(uint32_t choice, bool has_thrown, Result<TokenChunk> chunk) {
    Slot& slot = slots[choice];
    slot.is_waiting = false;
    if (slot.is_dropped) return slot.generation.reset();
    if (has_thrown) chunk = internal("reading the generation was broken off");
    take(choice, std::move(chunk));
    if (wake) wake->cancel();
  }

  std::vector<Slot> slots;
  size_t running = slots.size();
  std::vector<Arrival> arrived;
  std::optional<boost::asio::steady_timer> wake;  // cancelled when something has arrived
};

GenerationSet::GenerationSet(std::vector<std::unique_ptr<Generation>> generations)
    : state_(std::make_shared<State>(generations.size())) {
  for (size_t i = 0; i < generations.size(); ++i) state_->slots[i].generation = std::move(generations[i]);
}

GenerationSet::~GenerationSet() {
  if (!state_) return;
  state_->wake.reset();
  for (uint32_t i = 0; i < state_->slots.size(); ++i) drop(i);
}

size_t GenerationSet::running() const {
  return state_ ? state_->running : 0;
}

void GenerationSet::drop(uint32_t choice) {
  State::Slot& slot = state_->slots[choice];
  if (!slot.generation || slot.is_dropped) return;
  slot.is_dropped = true;
  --state_->running;
  std::erase_if(state_->arrived, [&](const Arrival& arrival) { return arrival.choice == choice; });
  if (slot.is_waiting) {
    slot.cancel.emit(boost::asio::cancellation_type::terminal);  // its coroutine destroys the generation
  } else {
    slot.generation.reset();
  }
}

Task<Result<TokenChunk>> GenerationSet::read(std::shared_ptr<State> state, uint32_t choice) {
  auto chunk = co_await state->slots[choice].generation->next();
  co_return chunk;
}

void GenerationSet::spawn_reads() {
  for (uint32_t i = 0; i < state_->slots.size(); ++i) {
    State::Slot& slot = state_->slots[i];
    if (!slot.generation || slot.is_waiting || slot.is_dropped) continue;
    slot.is_waiting = true;
    auto on_done = [state = state_, i](std::exception_ptr thrown, Result<TokenChunk> chunk) {
      state->on_read(i, thrown != nullptr, std::move(chunk));
    };
    boost::asio::co_spawn(state_->wake->get_executor(), read(state_, i),
                          boost::asio::bind_cancellation_slot(slot.cancel.slot(), std::move(on_done)));
  }
}

Task<std::vector<GenerationSet::Arrival>> GenerationSet::next() {
  const std::shared_ptr<State> state = state_;
  CHECK(state->running > 0);
  if (state->slots.size() == 1) {
    auto chunk = co_await state->slots[0].generation->next();
    state->take(0, std::move(chunk));
    co_return std::exchange(state->arrived, {});
  }
  if (!state->wake) {
    const auto executor = co_await boost::asio::this_coro::executor;
    state->wake.emplace(executor, boost::asio::steady_timer::time_point::max());
  }
  spawn_reads();
  while (state->arrived.empty()) {
    boost::system::error_code ignored;
    co_await state->wake->async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }
  co_return std::exchange(state->arrived, {});
}

}  // namespace dynamo::openai
