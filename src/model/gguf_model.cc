#include "model/gguf_model.h"

#include <cstring>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/mutex.h"
#include "model/gguf.h"
#include "model/gguf_config.h"
#include "model/gguf_parts.h"
#include "model/gguf_tokenizer.h"
#include "model/gguf_types.h"
#include "model/mapped_file.h"
#include "model/quote_name.h"
#include "model/stored_types.h"
#include "model/tokenizer_check.h"
#include "model/weight_table.h"

namespace dynamo::model {
namespace {

using Bytes = std::unique_ptr<std::byte[]>;

// Rows of each head, stored in pairs (0, half), (1, half + 1), ..., put into the order 0, 1, ..., half, half + 1, ...
// Whole rows move, so that quantised ones stay as they are.
Bytes in_half_split_order(const kernels::MatrixSource& stored, size_t head_dim) {
  const size_t row_bytes = kernels::row_bytes(stored.dtype, stored.columns);
  Bytes rows = std::make_unique_for_overwrite<std::byte[]>(stored.rows * row_bytes);
  const size_t half = head_dim / 2;
  for (size_t row = 0; row < stored.rows; ++row) {
    const size_t place = row % head_dim;
    const size_t from = row - place + place % half * 2 + place / half;
    std::memcpy(rows.get() + row * row_bytes, stored.data + from * row_bytes, row_bytes);
  }
  return rows;
}

class GgufModel : public ModelSource {
 public:
  GgufModel(std::vector<MappedFile> files, GgufFile file, ModelConfig config, std::string chat_template)
      : files_(std::move(files)),
        file_(std::move(file)),
        config_(std::move(config)),
        chat_template_(std::move(chat_template)) {
    stored_.format = fmt::format("GGUF v{}", file_.version());
    for (const MappedFile& mapped : files_) stored_.files.push_back({mapped.path(), mapped.bytes().size()});
    if (files_.size() > 1) stored_.format += fmt::format(", {} parts", files_.size());
    for (const GgufTensor& tensor : file_.tensors()) {
      count_tensor(gguf_tensor_type(tensor.type)->name, tensor.data.size(), &stored_.types);
    }
    sort_by_bytes(&stored_.types);
  }

  const ModelConfig& config() const override { return config_; }
  const std::string& chat_template() const override { return chat_template_; }
  const StoredModel& stored() const override { return stored_; }

  Result<kernels::MatrixSource> weight(WeightRole role, uint32_t layer) const override {
    TRY(kernels::MatrixSource source, find({role, layer}));
    const bool is_q_or_k = role == WeightRole::kQ || role == WeightRole::kK;
    if (is_q_or_k && config_.family->gguf_qk_rows == RowOrder::kPairs)
      source.data = ordered_rows({role, layer}, source);
    return source;
  }

  Result<text::TokenizerSpec> tokenizer() const override {
    auto spec = gguf_tokenizer(file_);
    const Status status = spec.is_ok() ? check_tokenizer(*spec, config_) : spec.status();
    if (!status.is_ok()) return files_.empty() ? status : status.with(files_.front().path());
    return spec;
  }

  // That every weight is there, of the right shape and type, and none is there that would be left out.
  Status check_weights() const {
    std::set<std::string, std::less<>> used = {"rope_freqs.weight"};
    for (const WeightSlot slot : weight_slots(config_)) {
      TRY_STATUS(find(slot));
      used.insert(gguf_weight_name(config_, slot));
    }
    for (const GgufTensor& tensor : file_.tensors()) {
      if (used.contains(tensor.name)) continue;
      return unsupported(fmt::format("tensor {} has no place in a {} model of {} layers", quote_name(tensor.name),
                                     config_.family->name, config_.layers));
    }
    return {};
  }

 private:
  Result<kernels::MatrixSource> find(WeightSlot slot) const {
    const std::string name = gguf_weight_name(config_, slot);
    const GgufTensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr) return not_found(fmt::format("tensor '{}' is missing", name));
    const WeightShape shape = weight_shape(config_, slot.role);
    const bool has_shape = tensor->dims[0] == shape.columns && tensor->dims[1] == shape.rows && tensor->dims[2] == 1 &&
                           tensor->dims[3] == 1;
    if (!has_shape) {
      return corrupt(fmt::format("tensor '{}' is {} x {}; expected {} x {} (rows x columns)", name, tensor->dims[1],
                                 tensor->dims[0], shape.rows, shape.columns));
    }
    const GgufTensorType& type = *gguf_tensor_type(tensor->type);
    if (!type.dtype) {
      return unsupported(
          fmt::format("tensor '{}' is of type {}; F32, F16, BF16, Q8_0, Q4_0 and Q4_1 are computed", name, type.name));
    }
    return kernels::MatrixSource{*type.dtype, shape.rows, shape.columns, tensor->data.data()};
  }

  const std::byte* ordered_rows(WeightSlot slot, const kernels::MatrixSource& stored) const {
    MutexLock lock(mutex_);
    Bytes& rows = ordered_[slot];
    if (rows == nullptr) rows = in_half_split_order(stored, config_.head_dim);
    return rows.get();
  }

  std::vector<MappedFile> files_;  // none: the bytes are another's
  GgufFile file_;                  // views into the files
  ModelConfig config_;
  std::string chat_template_;
  StoredModel stored_;
  mutable Mutex mutex_;
  mutable std::map<WeightSlot, Bytes> ordered_ GUARDED_BY(mutex_);
};

Result<std::unique_ptr<ModelSource>> make_model(std::vector<MappedFile> files, GgufFile file) {
  TRY(const auto chat_template, file.find_string("tokenizer.chat_template"));
  TRY(ModelConfig config, gguf_config(file));
  auto model = std::make_unique<GgufModel>(std::move(files), std::move(file), std::move(config),
                                           std::string(chat_template.value_or("")));
  TRY_STATUS(model->check_weights());
  return std::unique_ptr<ModelSource>(std::move(model));
}

}  // namespace

Result<std::unique_ptr<ModelSource>> open_gguf(const std::string& path) {
  TRY(GgufParts parts, open_gguf_parts(path));
  auto model = make_model(std::move(parts.files), std::move(parts.all));
  if (!model.is_ok()) return model.status().with(path);
  return model;
}

Result<std::unique_ptr<ModelSource>> open_gguf_bytes(std::span<const std::span<const std::byte>> parts) {
  std::vector<GgufPart> parsed;
  for (const auto bytes : parts) {
    TRY(GgufFile file, GgufFile::parse(bytes));
    parsed.push_back({fmt::format("part {}", parsed.size() + 1), std::move(file)});
  }
  TRY(GgufFile all, join_gguf(std::move(parsed)));
  return make_model({}, std::move(all));
}

}  // namespace dynamo::model
