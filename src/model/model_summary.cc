#include "model/model_summary.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kv/kv_layout.h"
#include "model/quote_name.h"
#include "model/weight_table.h"

namespace dynamo::model {
namespace {

std::string with_unit(double value, double base, std::initializer_list<const char*> units) {
  const char* const* unit = units.begin();
  while (value >= base && unit + 1 != units.end()) {
    value /= base;
    ++unit;
  }
  return unit == units.begin() ? fmt::format("{:.0f} {}", value, *unit) : fmt::format("{:.1f} {}", value, *unit);
}

std::string bytes_text(uint64_t bytes) {
  return with_unit(static_cast<double>(bytes), 1024, {"B", "KiB", "MiB", "GiB", "TiB"});
}

void count_tokenizer(const text::TokenizerSpec& spec, ModelSummary* summary) {
  std::vector<bool> is_used(summary->config.vocab_size);
  for (size_t id = 0; id < spec.vocab.size(); ++id) is_used[id] = !spec.vocab[id].empty();
  for (const text::AddedToken& token : spec.added) is_used[token.id] = true;
  summary->tokenizer_tokens = static_cast<size_t>(std::count(is_used.begin(), is_used.end(), true));
  summary->tokenizer_merges = spec.merges.size();
}

std::string rope_text(const ModelConfig& config) {
  std::string text = fmt::format("base {:g}", config.rope_base);
  if (config.rope_scaling) {
    text += fmt::format(", llama3 scaling by {:g} from {} tokens", config.rope_scaling->factor,
                        config.rope_scaling->original_context);
  }
  if (!config.rope_factors.empty()) text += ", scaled by factors in the file";
  return text;
}

std::string bos_text(const ModelSummary& summary) {
  const SpecialTokens& tokens = summary.special_tokens;
  if (!tokens.bos_id) return "none";
  return fmt::format("{} {}{}", *tokens.bos_id, quote_name(tokens.bos_token),
                     summary.adds_bos ? ", put before a prompt" : "");
}

std::string end_text(const AnswerEnd& end) {
  return fmt::format("{} {}, by {}", end.id, quote_name(end.text), fmt::join(end.sources, ", "));
}

}  // namespace

Result<ModelSummary> summarize_model(const std::string& path) {
  TRY(const std::unique_ptr<ModelSource> source, open_model(path));
  ModelSummary summary;
  summary.path = path;
  summary.config = source->config();
  summary.stored = source->stored();
  for (const WeightSlot slot : weight_slots(summary.config)) {
    const WeightShape shape = weight_shape(summary.config, slot.role);
    summary.parameters += shape.rows * shape.columns;
  }
  for (const StoredType& type : summary.stored.types) summary.weight_bytes += type.bytes;
  const ModelConfig& config = summary.config;
  const kv::KvLayout layout{.layers = config.layers, .kv_heads = config.kv_heads, .head_dim = config.head_dim};
  summary.kv_token_bytes = layout.token_bytes();
  TRY(const text::TokenizerSpec spec, source->tokenizer());
  count_tokenizer(spec, &summary);
  TRY(summary.special_tokens, find_special_tokens(config, spec, source->chat_template()));
  const auto& bos = summary.special_tokens.bos_id;
  summary.adds_bos = bos && !spec.prefix_ids.empty() && spec.prefix_ids.front() == *bos;
  summary.chat_template_bytes = source->chat_template().size();
  return summary;
}

std::string format_summary(const ModelSummary& summary) {
  const ModelConfig& config = summary.config;
  std::string out;
  const auto line = [&](std::string_view key, const std::string& value) {
    fmt::format_to(std::back_inserter(out), "{:<15} {}\n", key, value);
  };
  line("path", summary.path);
  line("name", config.name.empty() ? "(none)" : quote_name(config.name));
  uint64_t file_bytes = 0;
  for (const StoredFile& file : summary.stored.files) file_bytes += file.bytes;
  line("format", fmt::format("{}, {}", summary.stored.format, bytes_text(file_bytes)));
  if (summary.stored.files.size() > 1) {
    for (const StoredFile& file : summary.stored.files)
      line("file", fmt::format("{}, {}", file.path, bytes_text(file.bytes)));
  }
  line("architecture", config.family->name);
  line("parameters", with_unit(static_cast<double>(summary.parameters), 1000, {"", "K", "M", "B", "T"}));
  line("layers", fmt::format("{}", config.layers));
  line("width", fmt::format("{}, FFN {}", config.width, config.ffn_width));
  line("heads", fmt::format("{} query, {} KV, of {} dimensions{}", config.heads, config.kv_heads, config.head_dim,
                            config.plan().has_qk_norm    ? ", q and k normed"
                            : config.plan().has_qkv_bias ? ", with bias"
                                                         : ""));
  line("vocabulary",
       fmt::format("{}{}", config.vocab_size, config.has_tied_embedding ? ", output tied to embedding" : ""));
  line("context", fmt::format("{} tokens", config.context_length));
  line("rope", rope_text(config));
  for (const StoredType& type : summary.stored.types) {
    line("tensors", fmt::format("{:>5} of {}, {}", type.tensors, type.name, bytes_text(type.bytes)));
  }
  line("weights", fmt::format("{} in memory as stored", bytes_text(summary.weight_bytes)));
  line("KV cache", fmt::format("{} bytes per token (F16), {} for the whole context", summary.kv_token_bytes,
                               bytes_text(uint64_t{summary.kv_token_bytes} * config.context_length)));
  line("tokenizer",
       fmt::format("byte-level BPE, {} tokens, {} merges", summary.tokenizer_tokens, summary.tokenizer_merges));
  line("bos token", bos_text(summary));
  for (const AnswerEnd& end : summary.special_tokens.ends) line("ends an answer", end_text(end));
  if (summary.special_tokens.ends.empty()) line("ends an answer", "no token that is known: answers run to max_tokens");
  line("chat template",
       summary.chat_template_bytes > 0 ? fmt::format("{} bytes", summary.chat_template_bytes) : "none");
  line("checks", fmt::format("every weight of {} layers is there and has its shape", config.layers));
  return out;
}

Result<std::string> describe_model(const std::string& path) {
  TRY(const ModelSummary summary, summarize_model(path));
  return format_summary(summary);
}

}  // namespace dynamo::model
