// The fields of a model's configuration, whichever format holds them, and what a family's lists make of them.
// Threads: pure functions.  Private to the module.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "model/family.h"
#include "model/model_config.h"

namespace dynamo::model {

// One format's fields, by the keys that families give. Errors of those that find: kCorrupt (the field, what it is, what
// was expected).
class ConfigFields {
 public:
  virtual ~ConfigFields() = default;
  virtual Result<std::optional<uint32_t>> find_count(std::string_view key) const = 0;
  virtual Result<std::optional<double>> find_number(std::string_view key) const = 0;
  virtual Result<std::optional<bool>> find_bool(std::string_view key) const = 0;
  virtual Result<std::optional<std::string>> find_string(std::string_view key) const = 0;
  // The field for people: "field 'head_dim'", "metadata 'llama.block_count'".
  virtual std::string called(std::string_view key) const = 0;
  // The same with its value: "hidden_act 'gelu'", "metadata 'llama.expert_count' is 8".
  virtual std::string says(std::string_view key, const FieldValue& value) const = 0;
};

// A value for people: quoted, if it is a text.
std::string value_text(const FieldValue& value);

// How all that is not computed is refused, kUnsupported: "`what`; only A is computed", "`what`; A, B and C are computed".
Status not_computed(std::string_view what, std::span<const std::string_view> computed);
Status not_computed(std::string_view what, std::string_view computed);

// Reads the family's counts, whose keys in this format are `key`. Errors: those of find_count; kCorrupt (missing).
Status read_counts(const ConfigFields& fields, const char* CountField::* key, ModelConfig* config);

// Errors: kUnsupported, if a field is there with another value than its rule's; those of the finders.
Status refuse_others(const ConfigFields& fields, std::span<const Rule> rules);

}  // namespace dynamo::model
