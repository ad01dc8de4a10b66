#include "model/special_tokens.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "json/types.h"
#include "text/byte_alphabet.h"
#include "text/chat_template.h"

namespace dynamo::model {
namespace {

// The ends of turns and texts of the families of models that are in use, by text. Not among them: tokens that may stand
// inside an answer ("<|file_sep|>", "</think>") and what only means an end in one model.
constexpr std::string_view kKnownEnds[] = {
    "<|im_end|>",             // ChatML: Qwen, SmolLM2
    "<|eot_id|>",             // Llama 3: end of a turn
    "<|eom_id|>",             // Llama 3: end of a message that calls a tool, whose result comes next
    "<|end_of_text|>",        // Llama 3, Granite
    "<|endoftext|>",          // GPT-2, Qwen, SmolLM2: end of a text; models tuned for chat fall back to it
    "<|end|>",                // Phi 3
    "<|return|>",             // Harmony: end of an answer
    "<|call|>",               // Harmony: end of an answer that calls a tool
    "<end_of_turn>",          // Gemma
    "<end_of_utterance>",     // SmolVLM
    "<|EOT|>",                // DeepSeek Coder
    "<EOT>",                  // Code Llama
    "<｜end▁of▁sentence｜>",  // DeepSeek
    "</s>",                   // Llama 2, Mistral
    "<eos>",                  // Gemma
};

// Harmony ends each message of an answer with Phi's token, and the answer itself with its own.
constexpr std::string_view kPhiEnd = "<|end|>";
constexpr std::string_view kHarmonyEnd = "<|return|>";

const text::AddedToken* find_special(const text::TokenizerSpec& spec, std::string_view content) {
  const auto found = std::find_if(spec.added.begin(), spec.added.end(), [&](const text::AddedToken& token) {
    return token.is_special && token.content == content;
  });
  return found == spec.added.end() ? nullptr : &*found;
}

std::optional<TokenId> find_id(const text::TokenizerSpec& spec, std::string_view content) {
  for (const text::AddedToken& token : spec.added) {
    if (token.content == content) return token.id;
  }
  const auto found = std::find(spec.vocab.begin(), spec.vocab.end(), text::to_alphabet(content));
  if (content.empty() || found == spec.vocab.end()) return std::nullopt;
  return static_cast<TokenId>(found - spec.vocab.begin());
}

std::string text_of(const text::TokenizerSpec& spec, TokenId id) {
  for (const text::AddedToken& token : spec.added) {
    if (token.id == id) return token.content;
  }
  if (id >= spec.vocab.size()) return "";
  return text::from_alphabet(spec.vocab[id]).value_or(spec.vocab[id]);
}

// A text that is nowhere in `source`, so that where it is rendered, it is what was put in. It has nothing that a template
// would trim, split at or change: characters of private use, and digits.
std::string mark_for(std::string_view source) {
  for (uint32_t number = 0;; ++number) {
    std::string mark = fmt::format("\uE0D1{}\uE0D2", number);
    if (source.find(mark) == std::string_view::npos) return mark;
  }
}

// A conversation in which the assistant says `mark`, rendered.
Result<std::string> render_turn(const text::ChatTemplate& chat_template, const SpecialTokens& tokens,
                                const std::string& mark, bool is_followed) {
  json::array messages;
  messages.push_back({{"role", "user"}, {"content", "Hello"}});
  messages.push_back({{"role", "assistant"}, {"content", mark}});
  if (is_followed) messages.push_back({{"role", "user"}, {"content", "Hello"}});
  const json::object variables = {{"messages", messages},          {"tools", nullptr},
                                  {"documents", nullptr},          {"add_generation_prompt", false},
                                  {"bos_token", tokens.bos_token}, {"eos_token", tokens.eos_token}};
  return chat_template.render(variables, /*now=*/{});
}

// The special token that `text` begins with, white space aside: the longest, as tokenizers cut it.
const text::AddedToken* special_at_start(const text::TokenizerSpec& spec, std::string_view text) {
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return nullptr;
  text.remove_prefix(start);
  const text::AddedToken* longest = nullptr;
  for (const text::AddedToken& token : spec.added) {
    if (!token.is_special || token.content.empty() || !text.starts_with(token.content)) continue;
    if (longest == nullptr || token.content.size() > longest->content.size()) longest = &token;
  }
  return longest;
}

// What the template writes behind an assistant's words, if that is a special token.
const text::AddedToken* end_of_turn(const text::ChatTemplate& chat_template, std::string_view source,
                                    const SpecialTokens& tokens, const text::TokenizerSpec& spec) {
  const std::string mark = mark_for(source);
  for (const bool is_followed : {true, false}) {
    const auto rendered = render_turn(chat_template, tokens, mark, is_followed);
    if (!rendered.is_ok()) continue;
    const size_t at = rendered->find(mark);
    if (at == std::string::npos || at != rendered->rfind(mark)) continue;  // dropped, or told twice
    return special_at_start(spec, std::string_view(*rendered).substr(at + mark.size()));
  }
  return nullptr;
}

class Ends {
 public:
  explicit Ends(const text::TokenizerSpec& spec) : spec_(spec) {}

  void add(TokenId id, std::string source) {
    auto end = std::find_if(ends_.begin(), ends_.end(), [&](const AnswerEnd& known) { return known.id == id; });
    if (end == ends_.end()) end = ends_.insert(end, {id, text_of(spec_, id), {}});
    auto& sources = end->sources;
    if (std::find(sources.begin(), sources.end(), source) == sources.end()) sources.push_back(std::move(source));
  }
  std::vector<AnswerEnd> take() { return std::move(ends_); }

 private:
  const text::TokenizerSpec& spec_;
  std::vector<AnswerEnd> ends_;
};

// The text that templates see: by name where the files have one, else by number.
std::string visible_text(const text::TokenizerSpec& spec, const std::optional<std::string>& name,
                         std::optional<TokenId> id) {
  if (name) return *name;
  return id ? text_of(spec, *id) : "";
}

}  // namespace

Result<SpecialTokens> find_special_tokens(const ModelConfig& config, const text::TokenizerSpec& spec,
                                          std::string_view chat_template) {
  SpecialTokens tokens;
  if (config.bos_token) tokens.bos_id = find_id(spec, *config.bos_token);
  if (!tokens.bos_id) tokens.bos_id = config.bos_token_id;
  tokens.bos_token = visible_text(spec, config.bos_token, tokens.bos_id);
  const std::vector<NamedEnd>& named = config.named_ends;
  tokens.eos_token =
      visible_text(spec, config.eos_token, named.empty() ? std::nullopt : std::optional<TokenId>(named.front().id));

  Ends ends(spec);
  for (const NamedEnd& end : named) ends.add(end.id, end.source);
  if (config.eos_token) {
    if (const auto id = find_id(spec, *config.eos_token)) ends.add(*id, kTokenizerEos);
  }
  const bool is_harmony = find_special(spec, kHarmonyEnd) != nullptr;
  const auto is_end = [&](std::string_view content) { return content != kPhiEnd || !is_harmony; };
  for (const std::string_view content : kKnownEnds) {
    const text::AddedToken* token = find_special(spec, content);
    if (token != nullptr && is_end(content)) ends.add(token->id, "its text");
  }
  if (!chat_template.empty()) {
    TRY(const std::unique_ptr<text::ChatTemplate> compiled, text::ChatTemplate::compile(chat_template));
    const text::AddedToken* token = end_of_turn(*compiled, chat_template, tokens, spec);
    if (token != nullptr && is_end(token->content)) ends.add(token->id, "the chat template");
  }
  tokens.ends = ends.take();
  return tokens;
}

}  // namespace dynamo::model
