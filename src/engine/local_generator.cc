#include "engine/local_generator.h"

#include <boost/asio/this_coro.hpp>

#include "generate/chunk_mailbox.h"

namespace dynamo::engine {
namespace {

// Puts what the engine says into a request's mailbox.
class MailboxSink final : public ChunkSink {
 public:
  MailboxSink(std::shared_ptr<ChunkMailbox> mailbox, std::string worker)
      : mailbox_(std::move(mailbox)), worker_(std::move(worker)) {}

  void on_chunk(TokenChunk chunk) override {
    chunk.worker = std::exchange(worker_, {});
    mailbox_->put(std::move(chunk));
  }
  void on_failure(Status status) override { mailbox_->fail(std::move(status)); }
  void on_sign_of_life() override { mailbox_->put({}); }

 private:
  std::shared_ptr<ChunkMailbox> mailbox_;
  std::string worker_;  // until the first chunk
};

class LocalGeneration final : public Generation {
 public:
  LocalGeneration(Engine* engine, SequenceId id, std::shared_ptr<ChunkMailbox> mailbox, Time until)
      : engine_(engine), id_(id), mailbox_(std::move(mailbox)), until_(until) {}
  ~LocalGeneration() override {
    if (!is_over_) engine_->cancel(id_);
  }

  Task<Result<TokenChunk>> next() override {
    auto chunk = co_await mailbox_->take(until_);
    is_over_ = !chunk.is_ok() ? chunk.status().code() != Code::kDeadline : chunk->finish.has_value();
    co_return chunk;
  }

 private:
  Engine* engine_;
  SequenceId id_;
  std::shared_ptr<ChunkMailbox> mailbox_;
  Time until_;
  bool is_over_ = false;  // the engine knows of its end
};

}  // namespace

Task<Result<std::unique_ptr<Generation>>> LocalGenerator::generate(GenerateRequest request) {
  const auto executor = co_await boost::asio::this_coro::executor;
  auto mailbox = std::make_shared<ChunkMailbox>(executor);
  const Time until = request.deadline;
  auto sink = std::make_shared<MailboxSink>(mailbox, worker_);
  Handoff handoff;
  if (source_of_) handoff.source = source_of_(request);
  CO_TRY(const SequenceId id, engine_->submit(std::move(request), std::move(sink), std::move(handoff)));
  std::unique_ptr<Generation> generation = std::make_unique<LocalGeneration>(engine_, id, std::move(mailbox), until);
  co_return generation;
}

}  // namespace dynamo::engine
