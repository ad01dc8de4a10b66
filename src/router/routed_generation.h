// One request on its way: books a worker, sends, and when the worker fails books another and sends again.
// Private to the module. Threads: as any Generation.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "router/router.h"

namespace dynamo::router {

class RoutedGeneration final : public Generation {
 public:
  RoutedGeneration(std::shared_ptr<Router> router, GenerateRequest request)
      : router_(std::move(router)), request_(std::move(request)) {}

  // Sends the request to a worker; to others while workers refuse. `why` is the failure that made this necessary, if
  // any.
  Task<Status> dispatch(Status why);
  Task<Result<TokenChunk>> next() override;

 private:
  // Errors: kCorrupt (a token beyond the vocabulary, more tokens than were asked for).
  Status check(const TokenChunk& chunk) const;
  void take(TokenChunk* chunk);
  bool give_up_worker(const Status& failure);

  std::shared_ptr<Router> router_;
  GenerateRequest request_;  // its prompt grows by what was given out
  std::unique_ptr<Booking> booking_;
  std::unique_ptr<Generation> inner_;
  std::vector<uint64_t> passed_over_;
  std::string last_worker_;
  uint32_t attempt_ = 0;
  uint32_t broken_ = 0;        // attempts that found something wrong, not only away or full
  bool has_answered_ = false;  // the worker of this attempt
  bool has_told_worker_ = false;
  std::optional<uint32_t> cached_tokens_;
};

}  // namespace dynamo::router
