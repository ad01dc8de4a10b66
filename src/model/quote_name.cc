#include "model/quote_name.h"

namespace dynamo::model {

std::string quote_name(std::string_view name) {
  constexpr size_t kMost = 100;
  std::string out = "'";
  for (const char letter : name.substr(0, kMost)) {
    const auto byte = static_cast<unsigned char>(letter);
    out += byte < 0x20 || byte == 0x7F ? '?' : letter;
  }
  if (name.size() > kMost) out += "...";
  return out + "'";
}

}  // namespace dynamo::model
