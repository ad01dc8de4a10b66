#include "model/families/families.h"

#include <vector>

#include <fmt/format.h>

#include "model/config_fields.h"
#include "model/quote_name.h"

namespace dynamo::model {

Result<const Family*> find_family(const char* Family::* name, std::string_view value, std::string_view what) {
  std::vector<std::string_view> names;
  for (const Family* family : kFamilies) {
    if (value == family->*name) return family;
    names.emplace_back(family->*name);
  }
  return not_computed(fmt::format("{} {}", what, quote_name(value)), names);
}

}  // namespace dynamo::model
