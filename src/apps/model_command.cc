// dynamo model PATH: what a model is, or exactly what is wrong with it.
#include <memory>

#include "apps/command.h"
#include "apps/print.h"
#include "model/model_summary.h"

namespace dynamo::apps {

Command model_command() {
  auto path = std::make_shared<std::string>();
  Command command{.name = "model", .meaning = "Show what a model is, its memory and its KV bytes per token"};
  command.options.add("path", text(path.get()), "A .gguf file, or a folder with config.json and safetensors")
      .required();
  command.run = [=] {
    const auto text = model::describe_model(*path);
    if (!text.is_ok()) return finish("model", text.status());
    print(*text);
    return 0;
  };
  return command;
}

}  // namespace dynamo::apps
