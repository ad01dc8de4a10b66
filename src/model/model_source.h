// A model on disk, opened: its shape, its weights as the file holds them, its tokenizer and its chat template.
//
// Two kinds, one interface: a GGUF file or its parts (model/gguf.h) and a Hugging Face folder (model/hf_folder.h). Files are mapped,
// so a weight is read when it is used. The files are not trusted: every length, offset, type and count is checked
// before it is used. Threads: immutable after open_model(); any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kernels/backend.h"
#include "model/model_config.h"
#include "model/weight_role.h"
#include "text/tokenizer_spec.h"

namespace dynamo::model {

// Tensors of one type in a model's files.
struct StoredType {
  std::string name;  // as the format spells it: "Q4_1", "BF16"
  uint64_t tensors = 0;
  uint64_t bytes = 0;
};

struct StoredFile {
  std::string path;
  uint64_t bytes = 0;
};

// What the files hold.
struct StoredModel {
  std::string format;             // "GGUF v3, 2 parts", "safetensors, 2 shards"
  std::vector<StoredFile> files;  // those with weights
  std::vector<StoredType> types;  // of the tensors that the model uses, most bytes first
};

class ModelSource {
 public:
  virtual ~ModelSource() = default;
  virtual const ModelConfig& config() const = 0;
  // The weight as stored, with its shape checked against the config; vectors have rows == 1. Valid as long as the
  // source. GGUF's q and k of Llama models, stored for interleaved rotation, are put into half-split order here, so
  // that every source reads alike. Errors: kNotFound (names the tensor), kCorrupt (shape, bounds), kUnsupported (type).
  virtual Result<kernels::MatrixSource> weight(WeightRole role, uint32_t layer) const = 0;
  // Errors: kUnsupported, kInvalid, kNotFound (the folder has none).
  virtual Result<text::TokenizerSpec> tokenizer() const = 0;
  // The Jinja source, or empty if the model has none.
  virtual const std::string& chat_template() const = 0;
  virtual const StoredModel& stored() const = 0;
};

enum class Weights {
  kNeeded,
  kIfThere  // a folder without any opens too: for simulations, which need the shape and the text side only
};

// Opens a .gguf file (any of its parts, if there are several) or a folder with config.json. Errors: kNotFound (path, and what was expected there), kCorrupt and
// kUnsupported (say what in which file). Never allocates more than the files' own size allows.
Result<std::unique_ptr<ModelSource>> open_model(const std::string& path, Weights weights = Weights::kNeeded);

}  // namespace dynamo::model
