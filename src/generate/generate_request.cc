#include "generate/generate_request.h"

#include <iterator>

namespace dynamo {
namespace {

template <class T>
void append_all(std::vector<T>&& from, std::vector<T>* to) {
  to->insert(to->end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

void append(TokenChunk next, TokenChunk* chunk) {
  if (next.is_sign_of_life()) return;
  if (chunk->is_sign_of_life()) chunk->cached_tokens = next.cached_tokens;
  append_all(std::move(next.tokens), &chunk->tokens);
  append_all(std::move(next.logprobs), &chunk->logprobs);
  chunk->finish = next.finish;
  if (chunk->worker.empty()) chunk->worker = std::move(next.worker);
}

}  // namespace dynamo
