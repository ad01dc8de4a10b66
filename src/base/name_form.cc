#include "base/name_form.h"

#include <algorithm>

#include "base/check.h"

namespace dynamo {
namespace {

// The parts of a text, one after the other.
class Parts {
 public:
  Parts(std::string_view text, char separator) : rest_(text), separator_(separator) {}

  bool has_next() const { return !is_over_; }
  std::string_view next() {
    const size_t end = std::min(rest_.find(separator_), rest_.size());
    const std::string_view part = rest_.substr(0, end);
    is_over_ = end == rest_.size();
    rest_.remove_prefix(is_over_ ? end : end + 1);
    return part;
  }

 private:
  std::string_view rest_;
  char separator_;
  bool is_over_ = false;
};

bool is_field(std::string_view part) {
  return part.starts_with('<');
}

}  // namespace

std::string NameForm::name(std::initializer_list<std::string_view> values) const {
  std::string out;
  const std::string_view* value = values.begin();
  for (Parts parts(text, separator); parts.has_next();) {
    std::string_view part = parts.next();
    if (is_field(part)) {
      CHECK(value != values.end() && !value->empty() && value->find(separator) == std::string_view::npos);
      part = *value++;
    }
    out += part;
    if (parts.has_next()) out += separator;
  }
  CHECK(value == values.end());
  return out;
}

std::string NameForm::prefix(std::initializer_list<std::string_view> values) const {
  std::string out;
  const std::string_view* value = values.begin();
  for (Parts parts(text, separator);;) {
    CHECK(parts.has_next());
    std::string_view part = parts.next();
    if (is_field(part)) {
      if (value == values.end()) return out;
      part = *value++;
    }
    out += part;
    out += separator;
  }
}

std::optional<std::vector<std::string_view>> NameForm::read(std::string_view name) const {
  std::vector<std::string_view> values;
  Parts given(name, separator);
  for (Parts parts(text, separator); parts.has_next();) {
    if (!given.has_next()) return std::nullopt;
    const std::string_view wanted = parts.next();
    const std::string_view part = given.next();
    if (is_field(wanted) ? part.empty() : part != wanted) return std::nullopt;
    if (is_field(wanted)) values.push_back(part);
  }
  return given.has_next() ? std::nullopt : std::optional(std::move(values));
}

}  // namespace dynamo
