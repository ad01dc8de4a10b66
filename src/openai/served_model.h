// What the API layer needs to serve one model, and where it finds it by name. openai/served_model.h Threads: a
// directory may be read from any thread; what it returns is a snapshot that stays valid while held.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "generate/generator.h"
#include "generate/model_card.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace dynamo::openai {

struct ServedModel {
  ModelCard card;
  int64_t created = 0;  // Unix seconds, when it began to be served
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;  // null: the model has none, and chat is refused
  std::shared_ptr<Generator> generator;
};

class ModelDirectory {
 public:
  virtual ~ModelDirectory() = default;
  // Null if no model of that name is served.
  virtual std::shared_ptr<const ServedModel> find(std::string_view name) const = 0;
  virtual std::vector<std::shared_ptr<const ServedModel>> list() const = 0;  // by name
  // False while models may be missing for no other reason than that this process has just started.
  virtual bool is_warm() const = 0;
};

}  // namespace dynamo::openai
