#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace dynamo::text {
namespace {

bool has_flag_before(std::string_view text, size_t at, CharacterFlag flag) {
  if (at == 0) return false;
  const Character c = valid_character_before(text.data(), text.data() + at);
  return (character_flags()[c.code_point] & flag) != 0;
}

bool has_flag_at(std::string_view text, size_t at, CharacterFlag flag) {
  if (at == text.size()) return false;
  return (character_flags()[valid_character(text.data() + at).code_point] & flag) != 0;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  uint32_t nodes = 1;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    uint32_t node = 0;
    for (const char c : tokens_[i].content) {
      const auto [edge, is_new] = edges_.try_emplace(uint64_t{node} << 8 | static_cast<unsigned char>(c), nodes);
      if (is_new) ++nodes;
      node = edge->second;
    }
    ends_.try_emplace(node, i);
    first_bytes_.set(static_cast<unsigned char>(tokens_[i].content.front()));
  }
}

const AddedToken* AddedTokens::longest_at(std::string_view text, size_t at) const {
  const AddedToken* longest = nullptr;
  uint32_t node = 0;
  for (; at < text.size(); ++at) {
    const auto edge = edges_.find(uint64_t{node} << 8 | static_cast<unsigned char>(text[at]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (const auto end = ends_.find(node); end != ends_.end()) longest = &tokens_[end->second];
  }
  return longest;
}

AddedTokens::Match AddedTokens::find(std::string_view text, const Match& last) const {
  if (tokens_.empty()) return {};
  for (size_t at = last.next; at < text.size(); ++at) {
    if (!first_bytes_[static_cast<unsigned char>(text[at])]) continue;
    const AddedToken* token = longest_at(text, at);
    if (token == nullptr) continue;
    const size_t end = at + token->content.size();
    if (token->single_word && (has_flag_before(text, at, kWord) || has_flag_at(text, end, kWord))) {
      at = end - 1;
      continue;
    }
    Match match = {token, at, end, end, last.space_end};
    while (token->lstrip && match.begin > last.end && has_flag_before(text, match.begin, kSpace))
      match.begin -= valid_character_before(text.data(), text.data() + match.begin).size;
    if (token->rstrip) {
      match.end = std::max(end, last.space_end);
      while (has_flag_at(text, match.end, kSpace)) match.end += valid_character(text.data() + match.end).size;
      match.space_end = match.end;
    }
    return match;
  }
  return {};
}

}  // namespace dynamo::text
