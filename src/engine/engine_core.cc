#include "engine/engine_core.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "base/random.h"
#include "engine/metrics.h"
#include "generate/sampling_limits.h"

namespace dynamo::engine {
namespace {

constexpr Duration kLook =
    std::chrono::milliseconds(50);  // while a step runs, for sequences that wait for a sign of life

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// Tokens that the request may come to hold, prompt and answer.
uint32_t longest(const EngineOptions& options, const GenerateRequest& request) {
  return static_cast<uint32_t>(std::min<uint64_t>(
      request.prompt.size() - request.drawn_before + uint64_t{request.stop.max_tokens}, options.context_length));
}

}  // namespace

EngineCore::EngineCore(EngineOptions options, std::unique_ptr<StepRunner> runner, const Clock* clock,
                       kv::KvEventSink* events, Metrics* metrics, const MetricLabels& labels)
    : options_(options),
      runner_(std::move(runner)),
      clock_(clock),
      pool_(options.kv_blocks, options.block_tokens, events),
      scheduler_({.block_tokens = options.block_tokens,
                  .max_batch_tokens = options.max_batch_tokens,
                  .max_sequences = std::min(options.max_sequences, options.max_batch_tokens)},
                 &pool_),
      prompt_tokens_(metrics->counter(kPromptTokens, labels)),
      cached_tokens_(metrics->counter(kCachedTokens, labels)),
      generated_tokens_(metrics->counter(kGeneratedTokens, labels)),
      preemption_count_(metrics->counter(kPreemptions, labels)),
      step_rows_(metrics->histogram(kStepRows, labels)),
      step_seconds_(metrics->histogram(kStepSeconds, labels)),
      queue_seconds_(metrics->histogram(kQueueSeconds, labels)),
      next_seed_(random_bits()) {
  step_.paged.block_tokens = options.block_tokens;
  step_.gets_on = [this] {
    const Time now = clock_->now();
    if (now < looked_ + kLook) return;
    looked_ = now;
    tell_signs_of_life();
  };
}

Status EngineCore::check(const EngineOptions& options, const GenerateRequest& request) {
  TRY_STATUS(kv::check(request.prompt));
  if (!request.prompt.spans.empty()) {
    return unsupported(fmt::format("the prompt has something else than tokens at [{}, {}); this engine computes tokens",
                                   request.prompt.spans.front().begin, request.prompt.spans.front().end));
  }
  if (request.stop.max_tokens == 0) return invalid("max_tokens must be at least 1");
  if (request.drawn_before >= request.prompt.size() || request.drawn_before >= request.stop.max_tokens) {
    return invalid(fmt::format("{} tokens were drawn already; the prompt has {} with them, and max_tokens is {}",
                               request.drawn_before, request.prompt.size(), request.stop.max_tokens));
  }
  if (request.prompt.size() >= options.context_length) {
    return invalid(
        fmt::format("the prompt has {} tokens; with at least one token of answer it must be within the context of {}",
                    request.prompt.size(), options.context_length));
  }
  const auto wrong =
      std::ranges::find_if(request.prompt.tokens, [&](TokenId token) { return token >= options.vocab_size; });
  if (wrong != request.prompt.tokens.end()) {
    return invalid(fmt::format("token id {} is not in the vocabulary of {}", *wrong, options.vocab_size));
  }
  TRY_STATUS(check_limits(request.sampling));
  const uint64_t blocks = (uint64_t{longest(options, request)} + options.block_tokens - 1) / options.block_tokens;
  if (blocks > options.kv_blocks) {
    return invalid(fmt::format("prompt and answer need {} KV blocks; the cache has {}", blocks, options.kv_blocks));
  }
  return {};
}

void EngineCore::add(SequenceId id, GenerateRequest request, std::shared_ptr<ChunkSink> sink, Handoff handoff) {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->sink = std::move(sink);
  sequence->handoff = std::move(handoff);
  sequence->seed = request.sampling.seed.value_or(next_seed_++);
  sequence->arrival = sequence->heard = clock_->now();
  sequence->tokens = request.prompt.tokens;
  sequence->limit = longest(options_, request);
  sequence->request = std::move(request);
  scheduler_.add(std::move(sequence));
}

void EngineCore::cancel(SequenceId id) {
  const auto sequence = scheduler_.remove(id);
  if (sequence && sequence->attempt > 0 && sequence->handoff.source) sequence->handoff.source->on_given_up(id);
}

void EngineCore::fail(SequenceId id, const Status& status) {
  const Sequence* known = scheduler_.find(id);
  if (known == nullptr) return;
  const std::shared_ptr<ChunkSink> sink = known->sink;
  cancel(id);
  sink->on_failure(status);
}

// Of a sequence that found no token while those beside it did.
void EngineCore::fail_alone(const Sequence& sequence, const Status& status) {
  if (status.code() != Code::kInvalid) {
    LOG(error, "a sequence is broken", {"request_id", sequence.request.id}, {"why", status.to_string()});
    pool_.distrust(sequence.blocks);  // its KV may be what is broken, and would break whoever finds it in the cache
  }
  fail(sequence.id, status);
}

void EngineCore::fail_all(const Status& status) {
  for (Sequence* sequence : scheduler_.sequences()) fail(sequence->id, status);
  while (scheduler_.under_way() > 0) finish_oldest();
}

void EngineCore::expire() {
  const Time now = clock_->now();
  for (Sequence* sequence : scheduler_.sequences()) {
    if (sequence->request.deadline <= now) fail(sequence->id, deadline("the request's time ran out in the engine"));
  }
}

void EngineCore::tell_sign_of_life(Sequence* sequence, Time now) {
  if (sequence->next_sign() > now) return;
  sequence->heard = now;
  sequence->sink->on_sign_of_life();
}

// Of what comes from elsewhere, who computes it must say so: received().
void EngineCore::tell_signs_of_life() {
  const Time now = clock_->now();
  for (Sequence* sequence : scheduler_.sequences())
    if (!sequence->is_receiving) tell_sign_of_life(sequence, now);
}

void EngineCore::fill_step(std::span<const Turn> turns) {
  step_.tokens.clear();
  step_.draws.clear();
  step_.paged.sequences.clear();
  step_.paged.block_table.clear();
  step_.paged.positions.clear();
  for (const Turn& turn : turns) {
    const Sequence& sequence = *turn.sequence;
    const uint32_t end = turn.first + turn.rows;
    step_.paged.sequences.push_back({.first_row = static_cast<uint32_t>(step_.tokens.size()),
                                     .rows = turn.rows,
                                     .length = end,
                                     .first_block = static_cast<uint32_t>(step_.paged.block_table.size()),
                                     .seat = *sequence.seat});
    const uint32_t blocks = (end + options_.block_tokens - 1) / options_.block_tokens;
    for (uint32_t i = 0; i < blocks; ++i) step_.paged.block_table.push_back(sequence.blocks[i].value);
    for (uint32_t position = turn.first; position < end; ++position) {
      step_.paged.positions.push_back(position);
      step_.tokens.push_back(position < sequence.size() ? sequence.tokens[position] : kernels::kDrawnLast);
    }
    if (!turn.draws) continue;  // a chunk of a prompt
    const uint32_t index = sequence.output_size() + sequence.drawing - 1;
    const bool is_below_minimum = index < sequence.request.stop.min_tokens;
    step_.draws.push_back({.row = static_cast<uint32_t>(step_.tokens.size()) - 1,
                           .seat = *sequence.seat,
                           .sampling = &sequence.request.sampling,
                           .seed = sequence.seed,
                           .index = index,
                           .prompt = std::span(sequence.tokens).first(sequence.prompt_size()),
                           .output = std::span(sequence.tokens).subspan(sequence.prompt_size()),
                           .masked = is_below_minimum ? std::span<const TokenId>(sequence.request.stop.stop_token_ids)
                                                      : std::span<const TokenId>(),
                           .allowed = {},
                           .logprobs = sequence.request.logprobs});
  }
}

void EngineCore::emit(Sequence* sequence, DrawnToken drawn) {
  const StopConditions& stop = sequence->request.stop;
  scheduler_.append(sequence, drawn.token);
  generated_tokens_.Increment();
  TokenChunk chunk;
  chunk.tokens = {drawn.token};
  if (sequence->request.logprobs) chunk.logprobs.push_back(std::move(drawn.logprobs));
  chunk.cached_tokens = sequence->cached.value_or(0);
  if (sequence->output_size() > stop.min_tokens &&
      std::ranges::find(stop.stop_token_ids, drawn.token) != stop.stop_token_ids.end()) {
    chunk.finish = FinishReason::kStop;
  } else if (sequence->size() >= sequence->limit) {
    chunk.finish = FinishReason::kLength;
  }
  const bool is_over = chunk.finish.has_value();
  const std::shared_ptr<ChunkSink> sink = sequence->sink;
  sequence->heard = clock_->now();
  if (is_over) scheduler_.remove(sequence->id);
  sink->on_chunk(std::move(chunk));
}

// Of an admitted sequence; only the first time counts. Where its prompt is from does not change what is said of it.
void EngineCore::start(Sequence* sequence) {
  if (std::exchange(sequence->has_begun, true)) return;
  queue_seconds_.Observe(seconds(clock_->now() - sequence->arrival));
  prompt_tokens_.Increment(sequence->size());
  cached_tokens_.Increment(*sequence->cached);
  if (sequence->handoff.target) sequence->handoff.target->on_started(sequence->id);
}

// Tells the source of an admitted sequence where its prompt must go.
void EngineCore::reserve(Sequence* sequence) {
  start(sequence);
  ++sequence->attempt;
  for (const BlockId block : sequence->blocks) pool_.hold(block);
  sequence->handoff.source->on_reserved(sequence->id, sequence->attempt, sequence->computed, sequence->blocks);
}

// Tells the target what is new of a prompt.
void EngineCore::tell_target(Sequence* sequence) {
  const uint32_t prompt = static_cast<uint32_t>(sequence->request.prompt.size());
  const uint32_t computed = std::min(sequence->computed, prompt);
  const uint32_t end = computed == prompt ? (prompt + options_.block_tokens - 1) / options_.block_tokens
                                          : computed / options_.block_tokens;
  if (end <= sequence->sent_blocks) return;
  const uint32_t first = std::exchange(sequence->sent_blocks, end);
  std::vector<BlockId> blocks(sequence->blocks.begin(), sequence->blocks.begin() + end);
  for (const BlockId block : blocks) pool_.hold(block);
  sequence->handoff.target->on_computed(sequence->id, std::min(computed, end * options_.block_tokens), first,
                                        std::move(blocks));
}

// A step that was finished just now. Those that are mostly prompts tell how fast those are computed.
void EngineCore::measure(const std::vector<Turn>& turns, Time issued) {
  constexpr double kLatest = 0.1;  // share of the last step
  const Time now = clock_->now();
  // The device computes one step after the other.
  const double step_seconds = seconds(now - std::max(issued, std::exchange(finished_, now)));
  size_t rows = 0;
  size_t drawn = 0;
  for (const Turn& turn : turns) {
    rows += turn.rows;
    drawn += turn.draws;
  }
  step_rows_.Observe(static_cast<double>(rows));
  step_seconds_.Observe(step_seconds);
  if (rows < 32 || rows < 4 * drawn || step_seconds <= 0) return;
  const double rate = static_cast<double>(rows) / step_seconds;
  prefill_rate_ = prefill_rate_ == 0 ? rate : (1 - kLatest) * prefill_rate_ + kLatest * rate;
}

Sequence* EngineCore::receiving(SequenceId id, uint32_t attempt) const {
  Sequence* sequence = scheduler_.find(id);
  return sequence != nullptr && sequence->is_receiving && sequence->attempt == attempt ? sequence : nullptr;
}

void EngineCore::received(SequenceId id, uint32_t attempt, uint32_t tokens) {
  Sequence* sequence = receiving(id, attempt);
  if (sequence == nullptr) return;
  scheduler_.receive(sequence, tokens);
  tell_sign_of_life(sequence, clock_->now());
}

void EngineCore::received_all(SequenceId id, uint32_t attempt, DrawnToken first, uint32_t cached_tokens) {
  Sequence* sequence = receiving(id, attempt);
  if (sequence == nullptr) return;
  scheduler_.receive(sequence, sequence->size());
  scheduler_.end_receiving(sequence);
  sequence->handoff.source = nullptr;
  sequence->cached = std::max(*sequence->cached, std::min(cached_tokens, sequence->prompt_size()));
  emit(sequence, std::move(first));
}

void EngineCore::fetch_again(SequenceId id, uint32_t attempt) {
  if (Sequence* sequence = receiving(id, attempt)) scheduler_.requeue(sequence);
}

void EngineCore::prefill_here(SequenceId id, uint32_t attempt, bool keeps_received) {
  Sequence* sequence = receiving(id, attempt);
  if (sequence == nullptr) return;
  if (!keeps_received) pool_.distrust(sequence->blocks);
  scheduler_.requeue(sequence);
  sequence->handoff.source = nullptr;
}

void EngineCore::release(const std::vector<BlockId>& blocks) {
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) pool_.release(*block);
}

Time EngineCore::next_deadline() const {
  Time earliest = Time::max();
  for (const Sequence* sequence : scheduler_.sequences()) {
    earliest = std::min(earliest, sequence->request.deadline);
    if (!sequence->is_receiving) earliest = std::min(earliest, sequence->next_sign());
  }
  return earliest;
}

void EngineCore::fail_step(const std::vector<Turn>& turns, const Status& why) {
  LOG(error, "a step failed", {"sequences", turns.size()}, {"why", why.to_string()});
  // Of this place, not of what was asked: another may do.
  const Status status = unavailable(fmt::format("a step of the engine failed: {}", why.text()));
  for (const Turn& turn : turns)
    if (turn.sequence != nullptr) fail(turn.sequence->id, status);
}

// Schedules a step and begins it; if the device fails to, its sequences end. Returns: whether there was one.
bool EngineCore::issue() {
  const std::span<const Turn> turns = scheduler_.schedule();
  for (Sequence* sequence : scheduler_.take_receiving()) reserve(sequence);
  preemption_count_.Increment(static_cast<double>(scheduler_.preemptions() - counted_preemptions_));
  counted_preemptions_ = scheduler_.preemptions();
  if (turns.empty()) return false;
  const Time now = looked_ = clock_->now();
  for (const Turn& turn : turns) {
    start(turn.sequence);
    if (turn.sequence->handoff.target) tell_target(turn.sequence);  // what the cache had of it travels meanwhile
  }
  fill_step(turns);
  const Status begun = runner_->begin(step_);
  if (begun.is_ok()) {
    issued_.push_back(now);
  } else {
    fail_step(scheduler_.withdraw(), begun);
  }
  return true;
}

void EngineCore::finish_oldest() {
  auto drawn = runner_->finish();
  const std::vector<Turn> turns = scheduler_.complete(drawn.is_ok());
  const Time issued = issued_.front();
  issued_.pop_front();
  if (!drawn.is_ok()) return fail_step(turns, drawn.status());
  measure(turns, issued);
  for (const Turn& turn : turns)
    if (turn.sequence != nullptr && turn.sequence->handoff.target) tell_target(turn.sequence);
  size_t next = 0;
  for (const Turn& turn : turns) {
    if (!turn.draws) continue;
    CHECK(next < drawn->size());
    Result<DrawnToken>& one = (*drawn)[next++];
    if (turn.sequence == nullptr) continue;  // it ended meanwhile
    if (one.is_ok()) {
      emit(turn.sequence, std::move(one).value());
    } else {
      fail_alone(*turn.sequence, one.status());
    }
  }
  CHECK(next == drawn->size());
}

bool EngineCore::step() {
  expire();
  bool has_run = false;
  while (scheduler_.under_way() < runner_->depth() && issue()) has_run = true;
  if (scheduler_.under_way() > 0) {
    finish_oldest();
    has_run = true;
  }
  tell_signs_of_life();
  return has_run;
}

EngineLoad EngineCore::load() const {
  return {.running = static_cast<uint32_t>(scheduler_.running()),
          .waiting = static_cast<uint32_t>(scheduler_.waiting()),
          .used_blocks = pool_.held(),
          .cached_blocks = pool_.cached(),
          .total_blocks = pool_.total(),
          .is_full = scheduler_.is_full(),
          .queued_tokens = scheduler_.queued_tokens(),
          .prefill_tokens_per_second = prefill_rate_};
}

}  // namespace dynamo::engine
