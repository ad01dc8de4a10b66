#include "http/message.h"

#include <algorithm>

#include "base/check.h"

namespace dynamo::http {
namespace {

bool equal_without_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

std::optional<std::string_view> Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (equal_without_case(key, name)) return value;
  }
  return std::nullopt;
}

const std::string& Request::path_parameter(std::string_view name) const {
  const auto found =
      std::ranges::find(path_parameters, name, [](const auto& parameter) { return std::string_view(parameter.first); });
  CHECK(found != path_parameters.end());
  return found->second;
}

}  // namespace dynamo::http
