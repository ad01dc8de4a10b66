// Unicode normalisation form C.
// Source: Unicode Standard Annex 15; data as the `tokenizers` package has it (make_unicode_tables.py).
// Threads: pure functions.  Private to the module.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dynamo::text {

// Returns: the normal form, or nothing when `text` is in it already. Requires: `text` is valid UTF-8.
// Cost: one look at each character; more only around those that may change.
std::optional<std::string> to_nfc(std::string_view text);

}  // namespace dynamo::text
