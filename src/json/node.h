// A part of a document with its path, for code that stops at the first problem: files, and what peers announce.
//
// A member that is null is as absent. Errors of all that read: what `words` makes of the problem, with the part's path.
// Threads: values; the document must outlive its nodes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "json/problem.h"

namespace dynamo::json {

class Node {
 public:
  using Words = Status (*)(const Problem& problem);

  // A whole document, whose parts' paths begin with `path`.
  explicit Node(const json::value& document, std::string path = "", Words words = to_status)
      : Node(&document, std::move(path), words) {}
  explicit Node(json::value&&, std::string = "", Words = to_status) = delete;  // it would not outlive the node

  bool is_absent() const { return value_ == nullptr || value_->is_null(); }
  const json::value* value() const { return is_absent() ? nullptr : value_; }  // null: absent
  const std::string& path() const { return path_; }
  Status wrong(std::string_view expected) const;  // or missing

  // A member; absent if this is no object.
  Node operator[](std::string_view name) const;
  // An element. Requires: `from` is this value's array, and longer than `index`.
  Node at(const json::array& from, size_t index) const;

  // Nothing if it is absent.
  Result<std::optional<int64_t>> find_integer(int64_t least, int64_t most) const;
  Result<std::optional<uint32_t>> find_count() const;  // 0 to 2^32 - 1
  Result<std::optional<double>> find_number() const;
  Result<std::optional<bool>> find_bool() const;
  Result<std::optional<std::string_view>> find_string() const;  // a view into the document

  Result<bool> flag(bool otherwise) const;  // absent: `otherwise`

  // What must be there.
  Result<uint32_t> count() const;
  Result<std::string_view> string() const;
  Result<const json::object*> object() const;
  Result<const json::array*> array() const;

 private:
  Node(const json::value* value, std::string path, Words words)
      : value_(value), path_(std::move(path)), words_(words) {}
  Status say(Problem problem) const;
  template <class T, class... Limits>
  Result<std::optional<T>> find(Limits... limits) const;

  const json::value* value_;
  std::string path_;
  Words words_;
};

}  // namespace dynamo::json
