#include "model/model_source.h"

#include <filesystem>

#include "model/gguf_model.h"
#include "model/hf_folder.h"

namespace dynamo::model {

Result<std::unique_ptr<ModelSource>> open_model(const std::string& path, Weights weights) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return open_hf_folder(path, weights);
  if (!std::filesystem::exists(path, ignored)) {
    return not_found(path + ": there is no such file or folder; expected a .gguf file, or a folder with config.json");
  }
  return open_gguf(path);
}

}  // namespace dynamo::model
