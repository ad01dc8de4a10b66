// A model that tests can read: token ids 0 to 255 are the bytes themselves, the template is ChatML, and a script answers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "generate/testing/scripted_generator.h"
#include "openai/served_model.h"
#include "text/byte_alphabet.h"

namespace dynamo::openai::testing {

constexpr TokenId kImStart = 256;
constexpr TokenId kImEnd = 257;  // ends an answer
constexpr uint32_t kVocabSize = 258;
constexpr std::string_view kChatMl =
    "{% for message in messages %}{% if message.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

inline std::shared_ptr<const text::Tokenizer> byte_tokenizer() {
  text::TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte) {
    spec.vocab.emplace_back(text::alphabet_character(static_cast<unsigned char>(byte)));
  }
  for (const auto& [id, content] : {std::pair(kImStart, "<|im_start|>"), std::pair(kImEnd, "<|im_end|>")}) {
    text::AddedToken token;
    token.id = id;
    token.content = content;
    token.is_special = true;
    spec.added.push_back(token);
    spec.vocab.emplace_back(content);
  }
  auto made = text::Tokenizer::create(std::move(spec));
  CHECK_OK(made);
  return std::move(made).value();
}

inline std::vector<TokenId> tokens_of(std::string_view bytes) {
  std::vector<TokenId> tokens;
  for (const char c : bytes) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

// One chunk that says `bytes`, a token each; with kStop a stop id follows.
inline TokenChunk chunk_of(std::string_view bytes, std::optional<FinishReason> finish = std::nullopt) {
  TokenChunk chunk;
  chunk.tokens = tokens_of(bytes);
  chunk.finish = finish;
  if (finish == FinishReason::kStop) chunk.tokens.push_back(kImEnd);
  chunk.worker = "worker-1";
  return chunk;
}

using Script = std::function<ScriptedGenerator::Answer(const GenerateRequest&)>;

// Says the pieces, one a chunk, and stops.
inline Script say(std::vector<std::string> pieces) {
  return [pieces = std::move(pieces)](const GenerateRequest&) {
    ScriptedGenerator::Answer answer;
    for (size_t i = 0; i < pieces.size(); ++i) {
      const bool is_last = i + 1 == pieces.size();
      answer.chunks.push_back(chunk_of(pieces[i], is_last ? std::optional(FinishReason::kStop) : std::nullopt));
    }
    return answer;
  };
}

// Serves one model, "test/bytes", with a context of 256 tokens.
class TestDirectory final : public ModelDirectory {
 public:
  explicit TestDirectory(Script script = say({"Hello"}))
      : generator_(std::make_shared<ScriptedGenerator>(std::move(script))) {
    model_->card.name = "test/bytes";
    model_->card.context_length = 256;
    model_->card.vocab_size = kVocabSize;
    model_->card.eos_token_ids = {kImEnd};
    model_->card.bos_token = "<|im_start|>";
    model_->card.eos_token = "<|im_end|>";
    model_->created = 1700000000;
    model_->tokenizer = byte_tokenizer();
    auto compiled = text::ChatTemplate::compile(kChatMl);
    CHECK_OK(compiled);
    model_->chat_template = std::move(compiled).value();
    model_->generator = generator_;
  }

  std::shared_ptr<const ServedModel> find(std::string_view name) const override {
    return name == model_->card.name ? model_ : nullptr;
  }
  std::vector<std::shared_ptr<const ServedModel>> list() const override { return {model_}; }
  bool is_warm() const override { return is_warm_; }

  void set_warm(bool is_warm) { is_warm_ = is_warm; }
  // Before the directory is used.
  ServedModel& model() { return *model_; }
  ScriptedGenerator& generator() { return *generator_; }

 private:
  std::shared_ptr<ServedModel> model_ = std::make_shared<ServedModel>();
  std::shared_ptr<ScriptedGenerator> generator_;
  bool is_warm_ = true;
};

}  // namespace dynamo::openai::testing
