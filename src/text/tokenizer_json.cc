#include "text/tokenizer_json.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <boost/json/monotonic_resource.hpp>

#include "json/node.h"
#include "json/parse.h"
#include "text/byte_alphabet.h"
#include "text/pre_split.h"

namespace dynamo::text {
namespace {

// Ids may leave gaps, but not so many that a small file asks for a large table.
constexpr uint64_t kMostTokens = 1u << 24;
constexpr uint64_t kIdsPerToken = 8;
constexpr uint64_t kFreeIds = 1u << 16;

// "model.vocab: missing, wanted an object".
Status in_words(const json::Problem& problem) {
  std::string_view wanted = problem.expected;
  if (wanted == "a boolean") wanted = "true or false";
  if (problem.kind == json::Problem::Kind::kMissing)
    return invalid(fmt::format("{}: missing, wanted {}", problem.path, wanted));
  return invalid(fmt::format("{}: wanted {}, found {}", problem.path, wanted, json::type_name(problem.type)));
}

Result<TokenId> id_of(const json::Node& node) {
  const int64_t* id = node.is_absent() ? nullptr : node.value()->if_int64();
  if (id == nullptr || *id < 0) return node.wrong("a token id");
  if (static_cast<uint64_t>(*id) >= kMostTokens)
    return invalid(fmt::format("{}: id {} is not below {}", node.path(), *id, kMostTokens));
  return static_cast<TokenId>(*id);
}

Status unsupported_kind(const json::Node& node, std::string_view type) {
  return unsupported(fmt::format("{}: {} is not read here", node.path(), type.substr(0, 100)));
}

// What is done with a part that may be a Sequence of such parts: each in turn, in order.
template <class Visit>
Status for_each_part(const json::Node& node, std::string_view list, Visit visit, int depth = 0) {
  if (node.is_absent()) return Status();
  if (depth > 16) return invalid(node.path() + ": sequences are nested too deep");
  TRY(const std::string_view type, node["type"].string());
  if (type != "Sequence") return visit(node, type);
  const json::Node parts = node[list];
  TRY(const json::array* array, parts.array());
  for (size_t i = 0; i < array->size(); ++i) TRY_STATUS(for_each_part(parts.at(*array, i), list, visit, depth + 1));
  return Status();
}

Status read_vocab(const json::Node& node, size_t added, TokenizerSpec* spec) {
  TRY(const json::object* vocab, node.object());
  const uint64_t id_limit = (vocab->size() + added) * kIdsPerToken + kFreeIds;
  const auto complaint = [&](std::string_view token, std::string_view what) {
    return invalid(fmt::format("{}[\"{}\"]: {}", node.path(), token.substr(0, 100), what));
  };
  for (const auto& [key, value] : *vocab) {
    const std::string_view token = key;
    const int64_t* id = value.if_int64();
    if (id == nullptr || *id < 0) return complaint(token, "wanted a token id");
    const auto index = static_cast<uint64_t>(*id);
    if (index >= id_limit || index >= kMostTokens)
      return complaint(token, fmt::format("id {} is far beyond the number of tokens", index));
    if (token.empty()) return complaint(token, "an empty token");
    if (index >= spec->vocab.size()) spec->vocab.resize(index + 1);
    if (!spec->vocab[index].empty())
      return complaint(token, fmt::format("id {} is also that of \"{}\"", index, spec->vocab[index]));
    spec->vocab[index] = std::string(token);
  }
  return Status();
}

// "a b" or ["a", "b"].
std::optional<std::pair<std::string, std::string>> merge_of(const json::value& value) {
  if (const json::string* both = value.if_string()) {
    const std::string_view text = *both;
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) return std::nullopt;
    return std::pair(std::string(text.substr(0, space)), std::string(text.substr(space + 1)));
  }
  const json::array* pair = value.if_array();
  if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_string() || !(*pair)[1].is_string()) return std::nullopt;
  return std::pair(std::string((*pair)[0].get_string()), std::string((*pair)[1].get_string()));
}

// What BPE does to characters that the vocabulary does not have makes no difference once it has every byte.
Status check_unknowns(const json::Node& model, const TokenizerSpec& spec) {
  TRY(const bool falls_back, model["byte_fallback"].flag(false));
  if (model["unk_token"].is_absent() && !falls_back) return Status();
  std::vector<std::string_view> single;
  for (const std::string& token : spec.vocab)
    if (!token.empty() && token.size() <= 2) single.push_back(token);
  std::sort(single.begin(), single.end());
  for (int byte = 0; byte < 256; ++byte) {
    if (std::binary_search(single.begin(), single.end(), alphabet_character(static_cast<unsigned char>(byte))))
      continue;
    return unsupported(fmt::format("{}.unk_token: an unknown token, needed since byte {:#04x} is not in the vocabulary",
                                   model.path(), byte));
  }
  return Status();
}

Status read_model(const json::Node& model, size_t added, TokenizerSpec* spec) {
  TRY_STATUS(model.object());
  if (!model["type"].is_absent()) {
    TRY(const std::string_view type, model["type"].string());
    if (type != "BPE") return unsupported_kind(model, type);
  }
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (model[affix].is_absent()) continue;
    TRY(const std::string_view text, model[affix].string());
    if (!text.empty()) return unsupported_kind(model, affix);
  }
  if (const json::Node dropout = model["dropout"]; !dropout.is_absent()) {
    if (!dropout.value()->is_number()) return dropout.wrong("a number");
    if (dropout.value()->to_number<double>() != 0) return unsupported_kind(model, "dropout");
  }
  TRY(spec->ignores_merges, model["ignore_merges"].flag(false));
  TRY_STATUS(read_vocab(model["vocab"], added, spec));
  const json::Node merges = model["merges"];
  TRY(const json::array* list, merges.array());
  spec->merges.reserve(list->size());
  for (size_t i = 0; i < list->size(); ++i) {
    auto merge = merge_of((*list)[i]);
    if (!merge) return invalid(fmt::format("{}[{}]: a merge is \"a b\" or [\"a\", \"b\"]", merges.path(), i));
    spec->merges.push_back(*std::move(merge));
  }
  return check_unknowns(model, *spec);
}

Status read_added(const json::Node& node, const json::array& tokens, TokenizerSpec* spec) {
  const uint64_t id_limit = (spec->vocab.size() + tokens.size()) * kIdsPerToken + kFreeIds;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const json::Node entry = node.at(tokens, i);
    AddedToken token;
    TRY(token.id, id_of(entry["id"]));
    if (token.id >= id_limit)
      return invalid(fmt::format("{}.id: {} is far beyond the number of tokens", entry.path(), token.id));
    TRY(token.content, entry["content"].string());
    TRY(token.is_special, entry["special"].flag(false));
    TRY(token.lstrip, entry["lstrip"].flag(false));
    TRY(token.rstrip, entry["rstrip"].flag(false));
    TRY(token.single_word, entry["single_word"].flag(false));
    TRY(token.normalized, entry["normalized"].flag(false));
    spec->added.push_back(std::move(token));
  }
  return Status();
}

// A text as a pattern that matches it and nothing else.
std::string quoted(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c & 0x80);
    if (!is_plain) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

// Whether `pattern` matches every text from end to end, so that what lies between matches need not be kept.
bool matches_all(std::string_view pattern) {
  return pattern == kGpt2Pattern || pattern == kQwen2Pattern || pattern == kLlama3Pattern;
}

Status read_split(const json::Node& node, TokenizerSpec* spec) {
  const json::Node pattern = node["pattern"];
  std::string regex;
  if (!pattern["Regex"].is_absent()) {
    TRY(regex, pattern["Regex"].string());
  } else {
    TRY(const std::string_view text, pattern["String"].string());
    regex = quoted(text);
  }
  TRY(const std::string_view behavior, node["behavior"].string());
  TRY(const bool is_inverted, node["invert"].flag(false));
  const bool drops_nothing = behavior == "Removed" && is_inverted && matches_all(regex);
  if (behavior != "Isolated" && !drops_nothing) return unsupported_kind(node["behavior"], behavior);
  spec->split_patterns.push_back(std::move(regex));
  return Status();
}

Status read_digits(const json::Node& node, TokenizerSpec* spec) {
  TRY(const bool is_individual, node["individual_digits"].flag(false));
  if (is_individual && spec->split_patterns.empty()) {
    spec->splits_digits = true;
  } else {
    spec->split_patterns.push_back(is_individual ? "\\p{N}" : "\\p{N}+");
  }
  return Status();
}

Status read_pre_tokenizer(const json::Node& root, TokenizerSpec* spec) {
  bool has_bytes = false;
  const auto read = [&](const json::Node& node, std::string_view type) -> Status {
    if (has_bytes) return unsupported(node.path() + ": a pre-tokenizer after ByteLevel");
    if (type == "Split") return read_split(node, spec);
    if (type == "Digits") return read_digits(node, spec);
    if (type != "ByteLevel") return unsupported_kind(node, type);
    has_bytes = true;
    const bool is_first = spec->split_patterns.empty() && !spec->splits_digits;
    TRY(spec->adds_prefix_space, node["add_prefix_space"].flag(true));
    if (spec->adds_prefix_space && !is_first)
      return unsupported(node.path() + ".add_prefix_space: only where no other split comes before");
    TRY(const bool uses_regex, node["use_regex"].flag(true));
    if (uses_regex) spec->split_patterns.emplace_back(kGpt2Pattern);
    return Status();
  };
  TRY_STATUS(for_each_part(root, "pretokenizers", read));
  if (!has_bytes) return unsupported(root.path() + ": no ByteLevel, so not a byte-level tokenizer");
  return Status();
}

Status read_normalizer(const json::Node& root, TokenizerSpec* spec) {
  return for_each_part(root, "normalizers", [spec](const json::Node& node, std::string_view type) -> Status {
    if (type != "NFC") return unsupported_kind(node, type);
    spec->normalizes_nfc = true;
    return Status();
  });
}

// [{"SpecialToken": {"id": "<s>", ...}}, {"Sequence": {"id": "A", ...}}, ...]
Status read_template(const json::Node& node, TokenizerSpec* spec) {
  std::vector<TokenId> before, after;
  bool has_text = false;
  const json::Node single = node["single"];
  TRY(const json::array* parts, single.array());
  for (size_t i = 0; i < parts->size(); ++i) {
    const json::Node part = single.at(*parts, i);
    if (!part["Sequence"].is_absent()) {
      TRY(const std::string_view which, part["Sequence"]["id"].string());
      if (which != "A" || has_text) return unsupported_kind(part, "a template that does not hold the text once");
      has_text = true;
      continue;
    }
    TRY(const std::string_view name, part["SpecialToken"]["id"].string());
    const json::Node ids = node["special_tokens"][name]["ids"];
    TRY(const json::array* list, ids.array());
    for (size_t k = 0; k < list->size(); ++k) {
      TRY(const TokenId id, id_of(ids.at(*list, k)));
      (has_text ? after : before).push_back(id);
    }
  }
  if (!has_text) return unsupported_kind(single, "a template without the text");
  spec->prefix_ids.insert(spec->prefix_ids.begin(), before.begin(), before.end());
  spec->suffix_ids.insert(spec->suffix_ids.end(), after.begin(), after.end());
  return Status();
}

Status read_post_processor(const json::Node& root, TokenizerSpec* spec) {
  return for_each_part(root, "processors", [spec](const json::Node& node, std::string_view type) -> Status {
    if (type == "ByteLevel") return Status();  // moves offsets only
    if (type == "TemplateProcessing") return read_template(node, spec);
    return unsupported_kind(node, type);
  });
}

Status read_decoder(const json::Node& root) {
  bool has_bytes = false;
  TRY_STATUS(for_each_part(root, "decoders", [&has_bytes](const json::Node& node, std::string_view type) -> Status {
    if (type != "ByteLevel" || has_bytes) return unsupported_kind(node, type);
    has_bytes = true;
    return Status();
  }));
  return has_bytes ? Status() : unsupported(root.path() + ": no ByteLevel, so not a byte-level tokenizer");
}

}  // namespace

Result<TokenizerSpec> tokenizer_spec_from_json(std::string_view text) {
  boost::json::monotonic_resource memory(text.size());
  const auto document = json::parse(text, {.memory = &memory});
  if (!document.is_ok()) return invalid("tokenizer.json is not JSON: " + document.status().text());
  TRY_STATUS(json::Node(*document, "the document", in_words).object());
  const json::Node root(*document, "", in_words);

  TokenizerSpec spec;
  const json::Node added = root["added_tokens"];
  static const json::array kNone;
  const json::array* added_list = &kNone;
  if (!added.is_absent()) {
    TRY(added_list, added.array());
  }
  TRY_STATUS(read_model(root["model"], added_list->size(), &spec));
  TRY_STATUS(read_added(added, *added_list, &spec));
  TRY_STATUS(read_normalizer(root["normalizer"], &spec));
  TRY_STATUS(read_pre_tokenizer(root["pre_tokenizer"], &spec));
  TRY_STATUS(read_post_processor(root["post_processor"], &spec));
  TRY_STATUS(read_decoder(root["decoder"]));
  return spec;
}

}  // namespace dynamo::text
