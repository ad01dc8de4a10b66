#include "openai/choice_stream.h"

#include <algorithm>

namespace dynamo::openai {
namespace {

uint32_t count_characters(std::string_view text) {
  return static_cast<uint32_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

ChoiceStream::ChoiceStream(const text::Tokenizer* tokenizer, const RequestOptions& options, std::string_view echo)
    : detokenizer_(tokenizer, options.skips_special_tokens),
      stops_(options.stop),
      includes_stop_(options.includes_stop),
      min_tokens_(options.min_tokens),
      decoded_characters_(count_characters(echo)) {}

ChoicePiece ChoiceStream::push(TokenChunk chunk) {
  ChoicePiece piece;
  const bool hides_last = chunk.finish == FinishReason::kStop && !includes_stop_;
  for (size_t i = 0; i < chunk.tokens.size() && !stops_.has_stopped(); ++i) {
    ++tokens_;
    if (hides_last && i + 1 == chunk.tokens.size()) break;
    const std::string text = detokenizer_.push(chunk.tokens[i]);
    if (i < chunk.logprobs.size()) {
      PendingToken& pending = pending_.emplace_back();
      pending.token = {std::move(chunk.logprobs[i]), decoded_characters_};
      pending.begin = decoded_bytes_;
      pending.end = decoded_bytes_ + text.size();
      decoded_characters_ += count_characters(text);
    }
    decoded_bytes_ += text.size();
    push_text(text, &piece);
  }
  piece.finish = chunk.finish;
  if (chunk.finish && !stops_.has_stopped()) {
    push_text(detokenizer_.finish(), &piece);
    if (!stops_.has_stopped()) piece.text += stops_.finish();
  }
  if (stops_.has_stopped()) {
    piece.finish = FinishReason::kStop;
    if (includes_stop_) piece.text += stops_.matched();
  }
  shown_bytes_ += piece.text.size();
  release_tokens(piece.finish && !stops_.has_stopped(), &piece);
  return piece;
}

void ChoiceStream::push_text(std::string_view text, ChoicePiece* piece) {
  piece->text += stops_.push(text, tokens_ > min_tokens_);
}

// Moves the tokens of which something is shown; `shows_all` also those whose text was empty.
void ChoiceStream::release_tokens(bool shows_all, ChoicePiece* piece) {
  while (!pending_.empty()) {
    PendingToken& next = pending_.front();
    const bool is_shown = next.begin < shown_bytes_ || (next.begin == next.end && next.end <= shown_bytes_);
    if (!is_shown && !shows_all) return;
    piece->tokens.push_back(std::move(next.token));
    pending_.pop_front();
  }
}

}  // namespace dynamo::openai
