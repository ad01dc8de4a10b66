// dynamo model PATH: what a model is, or exactly what is wrong with it.
#include "apps/command.h"
#include "apps/print.h"
#include "model/model_summary.h"

namespace dynamo::apps {

void add_model_command(CLI::App* app, Run* run) {
  CLI::App* command = app->add_subcommand("model", "Show what a model is, its memory and its KV bytes per token");
  auto path = std::make_shared<std::string>();
  command->add_option("path", *path, "A .gguf file, or a folder with config.json and safetensors")->required();
  command->callback([=] {
    *run = [=] {
      const auto text = model::describe_model(*path);
      if (!text.is_ok()) return finish("model", text.status());
      print(*text);
      return 0;
    };
  });
}

}  // namespace dynamo::apps
