#include "text/tokenizer.h"

#include <algorithm>
#include <bitset>
#include <unordered_map>

#include <fmt/format.h>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/nfc.h"
#include "text/pre_split.h"
#include "text/utf8.h"

namespace dynamo::text {

struct Tokenizer::State {
  Bpe bpe;
  PreSplit pre_split;
  AddedTokens raw_added;         // searched for in the text as it came
  AddedTokens normalized_added;  // searched for in the normalised text
  std::unordered_map<std::string, TokenId> added_ids;
  std::vector<bool> is_special;
  std::vector<TokenId> prefix_ids;
  std::vector<TokenId> suffix_ids;
  bool normalizes_nfc = false;
  bool adds_prefix_space = false;
  size_t most_token_bytes = 0;  // that one token takes of a text; 0: no bound

  using Tokens = std::vector<TokenId>;

  // What one call of encode() needs besides its result.
  struct Scratch {
    PieceEnds ends;
    std::string spaced;
  };

  // Cuts `text` at the tokens of `added`; `encode_rest` gets what lies between.
  template <class EncodeRest>
  void cut(std::string_view text, const AddedTokens& added, Tokens* out, EncodeRest encode_rest) const {
    AddedTokens::Match last;
    while (true) {
      const AddedTokens::Match match = added.find(text, last);
      const size_t rest_end = match.token == nullptr ? text.size() : match.begin;
      if (rest_end > last.end) encode_rest(text.substr(last.end, rest_end - last.end));
      if (match.token == nullptr) return;
      out->push_back(match.token->id);
      last = match;
    }
  }

  void encode_plain(std::string_view text, Scratch* scratch, Tokens* out) const {
    if (adds_prefix_space && text.front() != ' ') {
      scratch->spaced.assign(1, ' ').append(text);
      text = scratch->spaced;
    }
    pre_split.split(text, &scratch->ends);
    bpe.encode(text, scratch->ends, out);
  }

  void encode_normalized(std::string_view text, bool parses_added, Scratch* scratch, Tokens* out) const {
    std::optional<std::string> normalized;
    if (normalizes_nfc) normalized = to_nfc(text);
    if (normalized) text = *normalized;
    if (!parses_added || normalized_added.empty()) return encode_plain(text, scratch, out);
    cut(text, normalized_added, out, [&](std::string_view rest) { encode_plain(rest, scratch, out); });
  }
};

namespace {

constexpr TokenId kMostTokens = 1u << 24;
constexpr size_t kNfcShrinks =
    4;  // NFC makes no text shorter than a quarter: three Hangul jamo, 9 bytes, become one of 3

Status check_added(const TokenizerSpec& spec) {
  std::unordered_map<std::string_view, TokenId> contents;
  std::unordered_map<TokenId, std::string_view> ids;
  for (const AddedToken& token : spec.added) {
    const std::string name = fmt::format("added token \"{}\" (id {})", token.content, token.id);
    if (token.id >= kMostTokens) return invalid(fmt::format("{}: an id must be below {}", name, kMostTokens));
    if (const auto [other, is_new] = ids.emplace(token.id, token.content); !is_new)
      return invalid(fmt::format("{}: \"{}\" has that id too", name, other->second));
    if (token.id < spec.vocab.size() && !spec.vocab[token.id].empty() && spec.vocab[token.id] != token.content)
      return invalid(fmt::format("{}: \"{}\" has that id too", name, spec.vocab[token.id]));
    if (const auto [other, is_new] = contents.emplace(token.content, token.id); !is_new && !token.content.empty())
      return invalid(fmt::format("{}: it has id {} too", name, other->second));
    if (valid_utf8_prefix(token.content) != token.content.size())
      return invalid(fmt::format("added token with id {}: not valid UTF-8", token.id));
  }
  return Status();
}

Status check_ids(const std::vector<TokenId>& ids, size_t vocab_size) {
  for (const TokenId id : ids)
    if (id >= vocab_size) return invalid(fmt::format("id {} put around every text is not in the vocabulary", id));
  return Status();
}

// How many bytes of a text can become one token; 0: any number.
size_t most_bytes_of_a_token(const TokenizerSpec& spec, const Bpe& bpe) {
  size_t most = 1;
  std::bitset<256> known;  // bytes without a token vanish
  for (TokenId id = 0; id < bpe.size(); ++id) {
    const std::string_view bytes = bpe.bytes(id);
    most = std::max(most, bytes.size());
    if (bytes.size() == 1) known.set(static_cast<unsigned char>(bytes[0]));
  }
  if (!known.all()) return 0;
  for (const AddedToken& token : spec.added) {
    if (token.lstrip || token.rstrip) return 0;
    most = std::max(most, token.content.size());
  }
  return spec.normalizes_nfc ? most * kNfcShrinks : most;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::create(TokenizerSpec spec) {
  if (spec.vocab.size() > kMostTokens) return invalid(fmt::format("more than {} tokens", kMostTokens));
  TRY_STATUS(check_added(spec));
  std::unordered_map<std::string, TokenId> added_ids;
  for (AddedToken& token : spec.added) {
    if (!token.content.empty()) added_ids.emplace(token.content, token.id);
    if (token.normalized && spec.normalizes_nfc) token.content = to_nfc(token.content).value_or(token.content);
  }
  TRY(Bpe bpe, Bpe::create(spec));
  TRY_STATUS(check_ids(spec.prefix_ids, bpe.size()));
  TRY_STATUS(check_ids(spec.suffix_ids, bpe.size()));
  for (const AddedToken& token : spec.added) {
    const TokenId other = token.content.empty() ? kNoToken : bpe.find(token.content);
    if (other != kNoToken && other != token.id)
      return invalid(fmt::format("added token \"{}\" (id {}): it has id {} too", token.content, token.id, other));
  }
  TRY(PreSplit pre_split, PreSplit::create(spec.split_patterns, spec.splits_digits));

  auto state = std::make_unique<State>();
  state->bpe = std::move(bpe);
  state->pre_split = std::move(pre_split);
  state->is_special.assign(state->bpe.size(), false);
  const size_t most_bytes = most_bytes_of_a_token(spec, state->bpe);
  std::vector<AddedToken> raw, normalized;
  for (AddedToken& token : spec.added) {
    if (token.content.empty()) continue;
    state->is_special[token.id] = token.is_special;
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  state->most_token_bytes = most_bytes;
  state->added_ids = std::move(added_ids);
  state->raw_added = AddedTokens(std::move(raw));
  state->normalized_added = AddedTokens(std::move(normalized));
  state->prefix_ids = std::move(spec.prefix_ids);
  state->suffix_ids = std::move(spec.suffix_ids);
  state->normalizes_nfc = spec.normalizes_nfc;
  state->adds_prefix_space = spec.adds_prefix_space;
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(state)));
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string repaired;
  if (valid_utf8_prefix(text) != text.size()) {
    if (append_utf8(text, &repaired) > 0) repaired += kReplacement;
    text = repaired;
  }
  std::vector<TokenId> out;
  out.reserve(text.size() / 4 + 16);
  State::Scratch scratch;
  const auto encode_rest = [&](std::string_view rest) {
    state_->encode_normalized(rest, options.parses_added, &scratch, &out);
  };
  if (options.adds_special) out.insert(out.end(), state_->prefix_ids.begin(), state_->prefix_ids.end());
  if (options.parses_added) {
    state_->cut(text, state_->raw_added, &out, encode_rest);
  } else if (!text.empty()) {
    encode_rest(text);
  }
  if (options.adds_special) out.insert(out.end(), state_->suffix_ids.begin(), state_->suffix_ids.end());
  return out;
}

size_t Tokenizer::least_tokens(size_t bytes) const {
  const size_t most = state_->most_token_bytes;
  return most == 0 ? 0 : (bytes + most - 1) / most;
}

std::string Tokenizer::decode(std::span<const TokenId> tokens, bool skip_special) const {
  std::string bytes;
  for (const TokenId token : tokens)
    if (!skip_special || !is_special(token)) bytes += token_bytes(token);
  if (valid_utf8_prefix(bytes) == bytes.size()) return bytes;
  std::string text;
  if (append_utf8(bytes, &text) > 0) text += kReplacement;
  return text;
}

std::string_view Tokenizer::token_bytes(TokenId token) const {
  return token < state_->bpe.size() ? state_->bpe.bytes(token) : std::string_view();
}

bool Tokenizer::is_special(TokenId token) const {
  return token < state_->is_special.size() && state_->is_special[token];
}

std::optional<TokenId> Tokenizer::find_token(std::string_view content) const {
  if (const auto added = state_->added_ids.find(std::string(content)); added != state_->added_ids.end())
    return added->second;
  const TokenId id = state_->bpe.find(content);
  return id == kNoToken ? std::nullopt : std::optional(id);
}

size_t Tokenizer::vocab_size() const {
  return state_->bpe.size();
}

}  // namespace dynamo::text
