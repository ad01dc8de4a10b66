// The pre-split of each family of tokenizers that GGUF files name.
#include <fmt/format.h>

#include "text/pre_split.h"
#include "text/tokenizer_json.h"

namespace dynamo::text {

Status set_pre_split(std::string_view family, TokenizerSpec* spec) {
  struct Family {
    std::string_view name;
    std::string_view pattern;
    bool splits_digits;
    bool ignores_merges;
    bool normalizes_nfc;
  };
  static constexpr Family kFamilies[] = {{"gpt-2", kGpt2Pattern, false, false, false},
                                         {"smollm", kGpt2Pattern, true, false, false},
                                         {"qwen2", kQwen2Pattern, false, false, true},
                                         {"llama-bpe", kLlama3Pattern, false, true, false}};
  for (const Family& known : kFamilies) {
    if (known.name != family) continue;
    spec->split_patterns = {std::string(known.pattern)};
    spec->splits_digits = known.splits_digits;
    spec->ignores_merges = known.ignores_merges;
    spec->normalizes_nfc = known.normalizes_nfc;
    return Status();
  }
  return unsupported(fmt::format("the pre-split of \"{}\": known are gpt-2, smollm, qwen2 and llama-bpe", family));
}

}  // namespace dynamo::text
