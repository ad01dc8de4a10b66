// Any text through small tokenizers that have every byte: decode(encode(text)) is the text, whole or piece by piece, and
// for bytes that are no UTF-8 the text with U+FFFD in their place. NFC takes any text too.
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/detokenizer.h"
#include "text/nfc.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace {

using namespace dynamo::text;

std::unique_ptr<Tokenizer> tokenizer_of(std::string_view family) {
  TokenizerSpec spec;
  CHECK(set_pre_split(family, &spec).is_ok());
  spec.normalizes_nfc = false;
  for (int byte = 0; byte < 256; ++byte) spec.vocab.emplace_back(alphabet_character(static_cast<unsigned char>(byte)));
  for (const auto& [left, right] :
       {std::pair("e", "r"), {"Ġ", "t"}, {"Ġ", "Ġ"}, {"ĠĠ", "ĠĠ"}, {"0", "0"}, {"Ã", "©"}, {"er", "er"}}) {
    spec.merges.emplace_back(left, right);
    spec.vocab.push_back(std::string(left) + right);
  }
  spec.added = {{.id = 300, .content = "<|end|>", .is_special = true}, {.id = 301, .content = "  <"}};
  return Tokenizer::create(std::move(spec)).value();
}

void check_round_trip(const Tokenizer& tokenizer, std::string_view text, std::string_view mended) {
  const auto ids = tokenizer.encode(text);
  CHECK(tokenizer.decode(ids, /*skip_special=*/false) == mended);
  Detokenizer detokenizer(&tokenizer, /*skip_special=*/false);
  std::string joined;
  for (const auto id : ids) joined += detokenizer.push(id);
  CHECK(joined + detokenizer.finish() == mended);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* tokenizers = new std::vector<std::unique_ptr<Tokenizer>>([] {
    std::vector<std::unique_ptr<Tokenizer>> all;
    for (const char* family : {"gpt-2", "smollm", "qwen2", "llama-bpe"}) all.push_back(tokenizer_of(family));
    return all;
  }());
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string mended;
  if (append_utf8(text, &mended) > 0) mended += kReplacement;
  for (const auto& tokenizer : *tokenizers) check_round_trip(*tokenizer, text, mended);
  const std::string normal = to_nfc(mended).value_or(mended);
  CHECK(valid_utf8_prefix(normal) == normal.size());
  CHECK(to_nfc(normal).value_or(normal) == normal);
  return 0;
}
