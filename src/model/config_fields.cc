#include "model/config_fields.h"

#include <fmt/format.h>

#include "model/quote_name.h"

namespace dynamo::model {
namespace {

template <class T>
Result<std::optional<FieldValue>> as_value(Result<std::optional<T>> found) {
  if (!found.is_ok()) return found.status();
  return *found ? std::optional<FieldValue>(**found) : std::nullopt;
}

// The field as a value of the type of `like`. `text` keeps the characters.
Result<std::optional<FieldValue>> find(const ConfigFields& fields, std::string_view key, const FieldValue& like,
                                       std::string* text) {
  if (std::holds_alternative<bool>(like)) return as_value(fields.find_bool(key));
  if (std::holds_alternative<double>(like)) return as_value(fields.find_number(key));
  TRY(const auto found, fields.find_string(key));
  if (!found) return std::optional<FieldValue>();
  *text = *found;
  return std::optional<FieldValue>(std::string_view(*text));
}

}  // namespace

std::string value_text(const FieldValue& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const double* number = std::get_if<double>(&value)) return fmt::format("{}", *number);
  return quote_name(std::get<std::string_view>(value));
}

Status not_computed(std::string_view what, std::span<const std::string_view> computed) {
  if (computed.size() == 1) return not_computed(what, computed.front());
  std::string list(computed.front());
  for (size_t i = 1; i < computed.size(); ++i) {
    list += i + 1 < computed.size() ? ", " : " and ";
    list += computed[i];
  }
  return unsupported(fmt::format("{}; {} are computed", what, list));
}

Status not_computed(std::string_view what, std::string_view computed) {
  return unsupported(fmt::format("{}; only {} is computed", what, computed));
}

Status read_counts(const ConfigFields& fields, const char* CountField::* key, ModelConfig* config) {
  for (const CountField& field : config->family->counts) {
    const char* name = field.*key;
    if (name == nullptr) continue;
    TRY(const auto count, fields.find_count(name));
    if (!count && field.otherwise == nullptr) return corrupt(fields.called(name) + " is missing");
    config->*field.value = count ? *count : config->*field.otherwise;
  }
  return {};
}

Status refuse_others(const ConfigFields& fields, std::span<const Rule> rules) {
  for (const Rule& rule : rules) {
    std::string text;
    TRY(const auto value, find(fields, rule.key, rule.only, &text));
    const bool is_off = value && rule.is_zero_off && *value == FieldValue(0.0);
    if (!value || *value == rule.only || is_off) continue;
    return not_computed(fields.says(rule.key, *value), value_text(rule.only));
  }
  return {};
}

}  // namespace dynamo::model
