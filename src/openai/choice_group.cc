#include "openai/choice_group.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <deque>
#include <exception>

namespace dynamo::openai {
namespace asio = boost::asio;

// Shared with the pumps, which may outlive the group by as long as they take to be cancelled.
struct ChoiceGroup::State {
  explicit State(const asio::any_io_executor& executor) : changed(executor, Time::max()) {}

  std::vector<ChoiceStream> streams;
  std::vector<std::unique_ptr<Generation>> generations;
  std::vector<uint64_t> cached;
  std::string worker;
  std::vector<ChoiceDelta> ready;
  Status failure;
  size_t unfinished = 0;
  asio::steady_timer changed;                    // cancelled when `ready`, `failure` or `unfinished` changes
  std::deque<asio::cancellation_signal> cancel;  // one per pump

  // Turns a chunk into a delta. Returns: whether the choice is over.
  bool take(size_t index, const TokenChunk& chunk);
};

bool ChoiceGroup::State::take(size_t index, const TokenChunk& chunk) {
  if (worker.empty()) worker = chunk.worker;
  cached[index] = chunk.cached_tokens;
  ChoiceDelta delta = streams[index].push(chunk);
  const bool is_over = delta.finish_reason.has_value();
  if (is_over) {
    generations[index].reset();  // also when a stop string was found: the engine stops
    --unfinished;
  }
  ready.push_back(std::move(delta));
  return is_over;
}

ChoiceGroup::ChoiceGroup(std::shared_ptr<State> state) : state_(std::move(state)) {}

ChoiceGroup::~ChoiceGroup() {
  for (auto& signal : state_->cancel) signal.emit(asio::cancellation_type::all);
  if (state_->cancel.empty()) state_->generations.clear();
}

Task<Result<std::unique_ptr<ChoiceGroup>>> ChoiceGroup::start(std::shared_ptr<Generator> generator,
                                                              std::vector<GenerateRequest> requests,
                                                              std::vector<ChoiceStream> streams) {
  const auto executor = co_await asio::this_coro::executor;
  auto state = std::make_shared<State>(executor);
  state->streams = std::move(streams);
  state->cached.resize(requests.size());
  state->unfinished = requests.size();
  for (GenerateRequest& request : requests) {
    CO_TRY(auto generation, co_await generator->generate(std::move(request)));
    state->generations.push_back(std::move(generation));
  }
  if (requests.size() > 1) {
    for (size_t i = 0; i < requests.size(); ++i) {
      auto& signal = state->cancel.emplace_back();
      const auto ignore_end = [state](const std::exception_ptr&) {};  // keeps the state while the pump runs
      asio::co_spawn(executor, pump(state.get(), i), asio::bind_cancellation_slot(signal.slot(), ignore_end));
    }
  }
  co_return std::unique_ptr<ChoiceGroup>(new ChoiceGroup(std::move(state)));
}

// Moves one choice's chunks into `ready`. When it is cancelled, its co_await throws and its generation is dropped.
Task<void> ChoiceGroup::pump(State* state, size_t index) {
  struct Drop {
    State* state;
    size_t index;
    ~Drop() { state->generations[index].reset(); }
  } const drop{state, index};
  for (;;) {
    auto chunk = co_await state->generations[index]->next();
    if (!chunk.is_ok()) {
      if (state->failure.is_ok()) state->failure = chunk.status();
      state->changed.cancel();
      co_return;
    }
    const bool is_over = state->take(index, *chunk);
    state->changed.cancel();
    if (is_over) co_return;
  }
}

Task<Result<std::vector<ChoiceDelta>>> ChoiceGroup::next() {
  State& s = *state_;
  if (s.generations.size() == 1 && s.unfinished == 1 && s.ready.empty()) {
    CO_TRY(const TokenChunk chunk, co_await s.generations[0]->next());
    s.take(0, chunk);
  }
  while (s.ready.empty() && s.failure.is_ok() && s.unfinished > 0) {
    boost::system::error_code ignored;
    s.changed.expires_at(Time::max());
    co_await s.changed.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  if (s.ready.empty() && !s.failure.is_ok()) co_return s.failure;
  co_return std::exchange(s.ready, {});
}

uint64_t ChoiceGroup::completion_tokens() const {
  uint64_t tokens = 0;
  for (const ChoiceStream& stream : state_->streams) tokens += stream.completion_tokens();
  return tokens;
}

uint64_t ChoiceGroup::cached_tokens() const {
  uint64_t tokens = 0;
  for (const uint64_t cached : state_->cached) tokens += cached;
  return tokens;
}

const std::string& ChoiceGroup::worker() const {
  return state_->worker;
}

}  // namespace dynamo::openai
