#include "json/node.h"

#include <limits>

#include <fmt/format.h>

#include "json/read.h"

namespace dynamo::json {

Status Node::say(Problem problem) const {
  problem.path = path_;
  return words_(problem);
}

Status Node::wrong(std::string_view expected) const {
  if (!is_absent()) return say(wrong_type(expected, *value_));
  return say({.kind = Problem::Kind::kMissing, .expected = std::string(expected)});
}

Node Node::operator[](std::string_view name) const {
  const json::object* object = is_absent() ? nullptr : value_->if_object();
  return {object == nullptr ? nullptr : object->if_contains(string_view(name.data(), name.size())),
          path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name), words_};
}

Node Node::at(const json::array& from, size_t index) const {
  return {&from[index], fmt::format("{}[{}]", path_, index), words_};
}

template <class T, class... Limits>
Result<std::optional<T>> Node::find(Limits... limits) const {
  if (is_absent()) return std::optional<T>();
  T out{};
  if (auto problem = read(*value_, limits..., &out)) return say(std::move(*problem));
  return std::optional<T>(out);
}

Result<std::optional<int64_t>> Node::find_integer(int64_t least, int64_t most) const {
  return find<int64_t>(least, most);
}

Result<std::optional<uint32_t>> Node::find_count() const {
  TRY(const auto count, find_integer(0, UINT32_MAX));
  return count ? std::optional(static_cast<uint32_t>(*count)) : std::nullopt;
}

Result<std::optional<double>> Node::find_number() const {
  constexpr double kMost = std::numeric_limits<double>::max();  // what is not finite is no number of JSON's
  return find<double>(Range{-kMost, kMost});
}

Result<std::optional<bool>> Node::find_bool() const {
  return find<bool>();
}

Result<std::optional<std::string_view>> Node::find_string() const {
  return find<std::string_view>();
}

Result<bool> Node::flag(bool otherwise) const {
  TRY(const auto found, find_bool());
  return found.value_or(otherwise);
}

Result<uint32_t> Node::count() const {
  if (is_absent()) return wrong("an integer");
  TRY(const auto found, find_count());
  return *found;
}

Result<std::string_view> Node::string() const {
  if (is_absent()) return wrong("a string");
  TRY(const auto found, find_string());
  return *found;
}

Result<const json::object*> Node::object() const {
  if (is_absent()) return wrong("an object");
  TRY(const auto found, find<const json::object*>());
  return *found;
}

Result<const json::array*> Node::array() const {
  if (is_absent()) return wrong("an array");
  TRY(const auto found, find<const json::array*>());
  return *found;
}

}  // namespace dynamo::json
