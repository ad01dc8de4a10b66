// A model opened for serving: its files, and the text side that frontends need of it.
// Threads: immutable once opened.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "generate/model_card.h"
#include "model/model_source.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace dynamo::worker {

struct ModelFiles {
  std::unique_ptr<model::ModelSource> source;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;  // null: the model has none
  ModelCard card;                                           // context_length is the model's own
};

// Opens the model at `path` under the name that clients will ask for; an empty name becomes the file's or folder's.
// Without weights the card's dtype is empty.
// Errors: those of model::open_model, text::Tokenizer::create and text::ChatTemplate::compile, with the path.
Result<ModelFiles> open_model_files(const std::string& path, std::string served_name,
                                    model::Weights weights = model::Weights::kNeeded);

// Workers whose models have the same one compute the same KV blocks: of the shape, each weight's type, and bytes from eight places of
// each, so that a fine-tuned model is another one. Reads some pages of each weight. Errors: those of ModelSource::weight().
Result<std::string> weights_digest(const ModelFiles& files);

// What frontends need of the model, as bytes that travel (model_bundle/model_bundle.h). Requires: files.source is open.
Result<std::string> bundle_of(const ModelFiles& files, uint32_t block_tokens);

}  // namespace dynamo::worker
