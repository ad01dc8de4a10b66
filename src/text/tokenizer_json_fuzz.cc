// Any bytes as a tokenizer.json: refused or read, and then texts go through what was read.
#include <cstdint>
#include <string_view>

#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dynamo::text;
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  auto spec = tokenizer_spec_from_json(json);
  if (!spec.is_ok()) return 0;
  auto tokenizer = Tokenizer::create(std::move(spec).value());
  if (!tokenizer.is_ok()) return 0;
  for (const std::string_view text :
       {std::string_view("Hello  w0rld's <s> 12345\n\n\te\u0301 \u4E2D"), json.substr(0, 2000)}) {
    const auto ids = (*tokenizer)->encode(text, {.adds_special = true});
    (*tokenizer)->decode(ids, /*skip_special=*/true);
  }
  return 0;
}
