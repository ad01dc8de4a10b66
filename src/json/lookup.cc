#include "json/lookup.h"

#include "json/read.h"

namespace dynamo::json {

const value* find(const value& from, std::string_view path) {
  boost::system::error_code nowhere;
  return from.find_pointer(string_view(path.data(), path.size()), nowhere);
}

std::string_view find_text(const value& from, std::string_view path) {
  const value* found = find(from, path);
  return found && found->is_string() ? std::string_view(found->get_string()) : std::string_view();
}

uint64_t find_count(const value& from, std::string_view path) {
  const value* found = find(from, path);
  const auto number = found ? whole_number(*found) : std::nullopt;
  return number && *number > 0 ? static_cast<uint64_t>(*number) : 0;
}

}  // namespace dynamo::json
