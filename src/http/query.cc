#include "http/query.h"

#include <algorithm>

#include <fmt/format.h>

namespace dynamo::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool form_decode(std::string_view text, std::string* out) {
  std::string with_blanks(text);
  std::ranges::replace(with_blanks, '+', ' ');
  return percent_decode(with_blanks, out);
}

}  // namespace

bool percent_decode(std::string_view text, std::string* out) {
  out->clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      *out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return false;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0)) return false;
    *out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return true;
}

Result<std::optional<std::string>> query_parameter(std::string_view query, std::string_view name) {
  std::string decoded;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    const size_t name_end = std::min(pair.find('='), pair.size());
    if (!form_decode(pair.substr(0, name_end), &decoded) || decoded != name) continue;
    if (!form_decode(pair.substr(std::min(name_end + 1, pair.size())), &decoded)) {
      return invalid(
          fmt::format("the query's '{}' is not percent-encoded: a '%' stands before two hexadecimal digits, not 00; "
                      "write %25 for '%'",
                      name));
    }
    return std::optional(std::move(decoded));
  }
  return std::optional<std::string>();
}

}  // namespace dynamo::http
