#include "model/gguf_tokenizer.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "model/quote_name.h"
#include "text/tokenizer_json.h"

namespace dynamo::model {
namespace {

// The format's token types; the others (normal, and byte, which byte-level BPE has no use for) are plain vocabulary.
constexpr int64_t kUnknown = 2;
constexpr int64_t kControl = 3;
constexpr int64_t kUserDefined = 4;
constexpr int64_t kUnused = 5;

constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr const char* kTypes = "tokenizer.ggml.token_type";
constexpr const char* kMerges = "tokenizer.ggml.merges";

// The name that text::set_pre_split knows a pre-split by. Converters have written several for the same one, since they tell
// tokenizers apart by what they make of a text, which the vocabulary and the bos decide as well.
std::string_view pre_split_of(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> kSame[] = {
      {"llama3", "llama-bpe"},       {"llama-v3", "llama-bpe"}, {"gpt2", "gpt-2"},
      {"deepseek-r1-qwen", "qwen2"},  // NFC and Qwen2's pattern in the tokenizer.json of DeepSeek-R1-Distill-Qwen
      {"starcoder", "smollm"},        // StarCoder 2: digits one by one, then GPT-2's pattern
      {"refact", "smollm"},           // Refact and Granite, which have StarCoder's tokenizer
  };
  for (const auto& [other, known] : kSame) {
    if (name == other) return known;
  }
  return name;
}

Status read_vocabulary(const GgufFile& file, text::TokenizerSpec* spec) {
  TRY(const auto tokens, file.find_strings(kTokens));
  if (!tokens) return not_found(fmt::format("metadata '{}' is missing", kTokens));
  TRY(const auto types, file.find_integers(kTypes));
  if (types && types->size() != tokens->size()) {
    return corrupt(fmt::format("metadata '{}' has {} entries for {} tokens", kTypes, types->size(), tokens->size()));
  }
  spec->vocab.resize(tokens->size());
  for (size_t id = 0; id < tokens->size(); ++id) {
    const std::string_view content = (*tokens)[id];
    const int64_t type = types ? (*types)[id] : 1;
    if (type == kUnused || content.empty()) continue;
    if (type == kUnknown || type == kControl || type == kUserDefined) {
      spec->added.push_back(
          {.id = static_cast<TokenId>(id), .content = std::string(content), .is_special = type != kUserDefined});
    } else {
      spec->vocab[id] = content;
    }
  }
  return {};
}

Status read_merges(const GgufFile& file, text::TokenizerSpec* spec) {
  TRY(const auto merges, file.find_strings(kMerges));
  if (!merges) return corrupt(fmt::format("metadata '{}' is missing", kMerges));
  for (size_t rank = 0; rank < merges->size(); ++rank) {
    const std::string_view merge = (*merges)[rank];
    const size_t space = merge.find(' ', 1);  // the byte alphabet has no space
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      return corrupt(fmt::format("metadata '{}': entry {}, {}, is not two parts with a space between", kMerges, rank,
                                 quote_name(merge)));
    }
    spec->merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return {};
}

// The id under `key`, put into `ids` if the flag `wanted` says so.
Status read_affix(const GgufFile& file, const char* wanted, bool is_default, const char* key,
                  std::vector<TokenId>* ids) {
  TRY(const auto is_wanted, file.find_bool(wanted));
  if (!is_wanted.value_or(is_default)) return {};
  TRY(const auto id, file.find_unsigned(key));
  if (!id) return corrupt(fmt::format("metadata '{}' is true, but '{}' is missing", wanted, key));
  if (*id > UINT32_MAX) return corrupt(fmt::format("metadata '{}' is {}, which is no token", key, *id));
  ids->push_back(static_cast<TokenId>(*id));
  return {};
}

}  // namespace

Result<text::TokenizerSpec> gguf_tokenizer(const GgufFile& file) {
  TRY(const auto model, file.find_string("tokenizer.ggml.model"));
  if (!model) return not_found("the file has no tokenizer (metadata 'tokenizer.ggml.model' is missing)");
  if (*model != "gpt2") {
    return unsupported(
        fmt::format("metadata 'tokenizer.ggml.model' is {}; 'gpt2', byte-level BPE, is read", quote_name(*model)));
  }
  TRY(const auto pre, file.find_string("tokenizer.ggml.pre"));
  if (!pre) return unsupported("metadata 'tokenizer.ggml.pre' is missing, so that the pre-split is not known");
  const std::string_view family = pre_split_of(*pre);
  text::TokenizerSpec spec;
  const Status pre_split = text::set_pre_split(family, &spec);
  if (!pre_split.is_ok()) return pre_split.with(fmt::format("metadata 'tokenizer.ggml.pre' {}", quote_name(*pre)));
  TRY_STATUS(read_vocabulary(file, &spec));
  TRY_STATUS(read_merges(file, &spec));
  // llama.cpp puts Llama 3's first token before a text even where the file does not say so.
  TRY_STATUS(read_affix(file, "tokenizer.ggml.add_bos_token", family == "llama-bpe", "tokenizer.ggml.bos_token_id",
                        &spec.prefix_ids));
  TRY_STATUS(read_affix(file, "tokenizer.ggml.add_eos_token", false, "tokenizer.ggml.eos_token_id", &spec.suffix_ids));
  return spec;
}

}  // namespace dynamo::model
