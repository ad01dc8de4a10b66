#include "json/object_reader.h"

#include <algorithm>

#include <fmt/format.h>

#include "json/read.h"

namespace dynamo::json {

std::string ObjectReader::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

const json::value* ObjectReader::value(std::string_view name) {
  known_.push_back(name);
  const json::value* found = object_.if_contains(string_view(name.data(), name.size()));
  return found && !found->is_null() ? found : nullptr;
}

template <class T, class... Limits>
std::optional<T> ObjectReader::read_member(std::string_view name, Limits... limits) {
  const json::value* found = value(name);
  if (!found) return std::nullopt;
  T out{};
  auto wrong = read(*found, limits..., &out);
  if (!wrong) return out;
  wrong->path = path_of(name);
  problem_->set(std::move(*wrong));
  return std::nullopt;
}

std::optional<bool> ObjectReader::boolean(std::string_view name) {
  return read_member<bool>(name);
}

std::optional<int64_t> ObjectReader::integer(std::string_view name, int64_t least, int64_t most) {
  return read_member<int64_t>(name, least, most);
}

std::optional<double> ObjectReader::number(std::string_view name, double least, double most, bool excludes_least) {
  return read_member<double>(name, Range{least, most, excludes_least});
}

std::optional<std::string_view> ObjectReader::string(std::string_view name) {
  return read_member<std::string_view>(name);
}

const json::object* ObjectReader::object(std::string_view name) {
  return read_member<const json::object*>(name).value_or(nullptr);
}

const json::array* ObjectReader::array(std::string_view name) {
  return read_member<const json::array*>(name).value_or(nullptr);
}

std::string_view ObjectReader::required_string(std::string_view name) {
  if (!value(name)) problem_->missing(path_of(name));
  return string(name).value_or("");
}

int64_t ObjectReader::required_integer(std::string_view name, int64_t least, int64_t most) {
  if (!value(name)) problem_->missing(path_of(name));
  return integer(name, least, most).value_or(0);
}

double ObjectReader::required_number(std::string_view name, double least, double most) {
  if (!value(name)) problem_->missing(path_of(name));
  return number(name, least, most).value_or(0);
}

void ObjectReader::only(std::string_view name, std::string_view allowed, std::string_view why) {
  const auto text = string(name);
  if (text && *text != allowed) problem_->unsupported(path_of(name), why);
}

void ObjectReader::refuse(std::string_view name, std::string_view why) {
  if (value(name)) problem_->unsupported(path_of(name), why);
}

void ObjectReader::refuse_unknown(std::string_view why) {
  if (problem_->has_value()) return;
  for (const auto& member : object_) {
    const std::string_view name(member.key().data(), member.key().size());
    if (member.value().is_null() || std::ranges::find(known_, name) != known_.end()) continue;
    return problem_->unsupported(path_of(shorten(name)), why);
  }
}

std::optional<int64_t> read_integer(const json::value& value, const std::string& path, int64_t least, int64_t most,
                                    FirstProblem* problem) {
  int64_t out = 0;
  auto wrong = read(value, least, most, &out);
  if (!wrong) return out;
  wrong->path = path;
  problem->set(std::move(*wrong));
  return std::nullopt;
}

}  // namespace dynamo::json
