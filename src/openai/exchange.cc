#include "openai/exchange.h"

#include <chrono>
#include <utility>

#include "base/log.h"

namespace dynamo::openai {
namespace {

int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string reply_id(Endpoint endpoint, const std::string& id) {
  return (endpoint == Endpoint::kChat ? "chatcmpl-" : "cmpl-") + id;
}

}  // namespace

Exchange::Exchange(PreparedRequest request, std::string id, Time deadline, RequestRecord* record)
    : request_(std::move(request)),
      id_(std::move(id)),
      deadline_(deadline),
      record_(record),
      writer_(&request_, reply_id(request_.endpoint, id_), unix_seconds()) {
  for (const PreparedPrompt& prompt : request_.prompts) usage_.prompt_tokens += prompt.tokens.size();
  choices_.reserve(request_.choices());
  for (uint32_t i = 0; i < request_.choices(); ++i) {
    choices_.push_back(
        Choice{ChoiceStream(request_.model->tokenizer.get(), request_.options, request_.prompt_of(i).echo), {}});
  }
}

Task<Status> Exchange::start() {
  std::vector<std::unique_ptr<Generation>> generations;
  generations.reserve(request_.choices());
  for (uint32_t i = 0; i < request_.choices(); ++i) {
    GenerateRequest asked = generate_request(request_, i, id_, deadline_);
    CO_TRY(auto generation, co_await request_.model->generator->generate(std::move(asked)));
    generations.push_back(std::move(generation));
  }
  generations_ = GenerationSet(std::move(generations));
  co_return Status();
}

Task<void> Exchange::run(http::ResponseWriter* out) {
  const Status started = co_await start();
  if (!started.is_ok()) {
    co_await fail(out, started);
  } else if (request_.options.is_stream) {
    co_await stream(out);
  } else {
    co_await reply(out);
  }
}

// What failed before anything was written.
Task<void> Exchange::fail(http::ResponseWriter* out, Status status) {
  const ApiError error = to_api_error(status);
  record_->finish(http_status(error.code), usage_);
  http::Response response = to_response(error);
  response.headers.emplace_back("x-request-id", id_);
  const Status sent = co_await out->send(std::move(response));
  if (!sent.is_ok()) LOG(debug, "client gone before its error", {"id", id_}, {"why", sent.to_string()});
}

ChoicePiece Exchange::take(uint32_t index, TokenChunk chunk) {
  Choice& choice = choices_[index];
  if (worker_.empty()) worker_ = chunk.worker;
  const bool is_first = choice.stream.tokens() == 0;
  // Choices of one prompt come from one cache: the first stands for all.
  if (is_first && index % request_.options.n == 0) usage_.cached_tokens += chunk.cached_tokens;
  const uint32_t before = choice.stream.tokens();
  ChoicePiece piece = choice.stream.push(std::move(chunk));
  const uint32_t added = choice.stream.tokens() - before;
  usage_.completion_tokens += added;
  record_->tokens(added, &choice.latest);
  if (piece.finish) generations_.drop(index);
  return piece;
}

template <class Sink>
Task<Status> Exchange::advance(Sink sink) {
  auto arrivals = co_await generations_.next();
  for (auto& arrival : arrivals) {
    CO_TRY(TokenChunk chunk, std::move(arrival.chunk));
    const ChoicePiece piece = take(arrival.choice, std::move(chunk));
    sink(arrival.choice, piece);
  }
  co_return Status();
}

void Exchange::append_events(uint32_t index, const ChoicePiece& piece, std::string* events) {
  Choice& choice = choices_[index];
  if (!std::exchange(choice.has_started, true)) writer_.append_start(events, index, usage_);
  writer_.append_delta(events, index, piece, usage_);
  if (piece.finish) writer_.append_finish(events, index, *piece.finish, usage_);
}

http::Response Exchange::head() const {
  http::Response head;
  head.headers.emplace_back("x-request-id", id_);
  if (!worker_.empty()) head.headers.emplace_back("x-dynamo-worker", worker_);
  return head;
}

Task<void> Exchange::stream(http::ResponseWriter* out) {
  bool has_begun = false;
  while (generations_.running() > 0) {
    std::string events;
    const Status advanced =
        co_await advance([&](uint32_t choice, const ChoicePiece& piece) { append_events(choice, piece, &events); });
    if (!advanced.is_ok() && !has_begun && events.empty()) co_return co_await fail(out, advanced);
    if (!has_begun) {
      http::Response response = head();
      response.content_type = "text/event-stream";
      response.headers.emplace_back("cache-control", "no-cache");
      has_begun = true;
      const Status begun = co_await out->begin(std::move(response));
      if (!begun.is_ok()) co_return;
    }
    if (!advanced.is_ok()) ReplyWriter::append_failure(&events, to_api_error(advanced));
    const bool is_over = !advanced.is_ok() || generations_.running() == 0;
    if (advanced.is_ok() && is_over) writer_.append_end(&events, usage_);
    if (!events.empty()) {
      const Status written = co_await out->write(std::move(events));
      if (!written.is_ok()) co_return;
    }
    if (!is_over) continue;
    record_->finish(advanced.is_ok() ? 200 : http_status(advanced.code()), usage_);
    const Status ended = co_await out->end();
    if (!ended.is_ok()) LOG(debug, "client gone at the end of its stream", {"id", id_}, {"why", ended.to_string()});
    if (!advanced.is_ok()) LOG(warn, "stream broke off", {"id", id_}, {"why", advanced.to_string()});
    co_return;
  }
}

Task<void> Exchange::reply(http::ResponseWriter* out) {
  while (generations_.running() > 0) {
    const Status advanced = co_await advance([this](uint32_t index, const ChoicePiece& piece) {
      WholeChoice& whole = choices_[index].whole;
      whole.text += piece.text;
      whole.tokens.insert(whole.tokens.end(), piece.tokens.begin(), piece.tokens.end());
      if (piece.finish) whole.finish = *piece.finish;
    });
    if (!advanced.is_ok()) co_return co_await fail(out, advanced);
  }
  std::vector<WholeChoice> whole;
  whole.reserve(choices_.size());
  for (Choice& choice : choices_) whole.push_back(std::move(choice.whole));
  http::Response response = head();
  response.body = writer_.whole_reply(whole, usage_);
  record_->finish(200, usage_);
  const Status sent = co_await out->send(std::move(response));
  if (!sent.is_ok()) LOG(debug, "client gone before its answer", {"id", id_}, {"why", sent.to_string()});
}

}  // namespace dynamo::openai
