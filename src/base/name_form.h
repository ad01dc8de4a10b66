// The form of names with fields, such as "/dynamo/names/<namespace>/<role>/<n>": declared once, it builds the names,
// reads them, and stands in docs/reference/keys.md. The keys: discovery/keys.h; the subjects: events/subjects.h.
//
// A name is parts between separators; a part of the form in <> is a field. A field's value is not empty and holds no
// separator.
// Threads: values.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dynamo {

struct NameForm {
  char separator;
  std::string_view text;     // "dynamo.<namespace>.kv.<instance>"
  std::string_view writer;   // who makes what has such a name; for the reference page
  std::string_view meaning;  // of its value; for the reference page

  // Requires: a value for each field.
  std::string name(std::initializer_list<std::string_view> values) const;
  // What names with these first values begin with, the separator before the next field included. Requires: fewer values
  // than fields.
  std::string prefix(std::initializer_list<std::string_view> values) const;
  // Returns: the fields' values; none if the name is not of this form. They are views of `name`.
  std::optional<std::vector<std::string_view>> read(std::string_view name) const;
};

}  // namespace dynamo
