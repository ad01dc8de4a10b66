#include "worker/model_files.h"

#include <filesystem>

#include <fmt/format.h>

#include "kernels/dtype.h"
#include "model/gguf_parts.h"
#include "model/special_tokens.h"
#include "model/weight_table.h"
#include "model_bundle/model_bundle.h"

namespace dynamo::worker {
namespace {

// The file's name without what makes it a .gguf or a part of one, or the folder's.
std::string name_of(const std::string& path) {
  if (const auto part = model::parse_gguf_part_path(path)) return std::filesystem::path(part->stem).filename().string();
  std::filesystem::path name = std::filesystem::path(path).lexically_normal();
  if (!name.has_filename()) name = name.parent_path();
  return name.extension() == ".gguf" ? name.stem().string() : name.filename().string();
}

// The dtype of the matrices that make up most of the model.
Result<std::string> main_dtype(const model::ModelSource& source) {
  TRY(const kernels::MatrixSource down, source.weight(model::WeightRole::kDown, 0));
  return std::string(kernels::dtype_name(down.dtype));
}

Result<ModelFiles> open(const std::string& path, std::string served_name, model::Weights weights) {
  ModelFiles files;
  TRY(files.source, model::open_model(path, weights));
  const model::ModelConfig& config = files.source->config();
  TRY(text::TokenizerSpec spec, files.source->tokenizer());
  TRY(const model::SpecialTokens special, model::find_special_tokens(config, spec, files.source->chat_template()));
  TRY(std::unique_ptr<text::Tokenizer> tokenizer, text::Tokenizer::create(std::move(spec)));
  files.tokenizer = std::move(tokenizer);
  if (!files.source->chat_template().empty()) {
    TRY(std::unique_ptr<text::ChatTemplate> chat_template, text::ChatTemplate::compile(files.source->chat_template()));
    files.chat_template = std::move(chat_template);
  }
  ModelCard& card = files.card;
  card.name = served_name.empty() ? name_of(path) : std::move(served_name);
  card.architecture = config.family->name;
  if (!files.source->stored().types.empty()) {
    TRY(card.dtype, main_dtype(*files.source));
  }
  card.context_length = config.context_length;
  card.vocab_size = config.vocab_size;
  for (const model::AnswerEnd& end : special.ends) card.eos_token_ids.push_back(end.id);
  card.bos_token_id = special.bos_id;
  card.bos_token = special.bos_token;
  card.eos_token = special.eos_token;
  card.default_temperature = config.default_temperature;
  card.default_top_p = config.default_top_p;
  card.default_top_k = config.default_top_k;
  return files;
}

}  // namespace

Result<ModelFiles> open_model_files(const std::string& path, std::string served_name, model::Weights weights) {
  auto files = open(path, std::move(served_name), weights);
  if (!files.is_ok()) return files.status().with("model " + path);
  return files;
}

Result<std::string> weights_digest(const ModelFiles& files) {
  constexpr size_t kPieces = 8;  // of each weight
  constexpr size_t kPieceBytes = 64;
  const model::ModelConfig& config = files.source->config();
  std::string text = fmt::format("{} {} {} {} {} {}", config.family->name, config.layers, config.heads, config.kv_heads,
                                 config.head_dim, config.vocab_size);
  for (const model::WeightSlot slot : model::weight_slots(config)) {
    TRY(const kernels::MatrixSource weight, files.source->weight(slot.role, slot.layer));
    text += fmt::format(" {} {} {} ", kernels::dtype_name(weight.dtype), weight.rows, weight.columns);
    const size_t bytes = weight.rows * kernels::row_bytes(weight.dtype, weight.columns);
    const size_t piece = std::min(bytes, kPieceBytes);
    for (size_t i = 0; i < kPieces; ++i)
      text.append(reinterpret_cast<const char*>(weight.data + (bytes - piece) / (kPieces - 1) * i), piece);
  }
  return model_bundle::digest_of(text);
}

Result<std::string> bundle_of(const ModelFiles& files, uint32_t block_tokens) {
  model_bundle::Parts parts;
  parts.card = files.card;
  parts.card.name.clear();
  parts.card.block_tokens = block_tokens;
  parts.chat_template = files.source->chat_template();
  TRY(parts.tokenizer, files.source->tokenizer());
  return model_bundle::to_bytes(parts);
}

}  // namespace dynamo::worker
