// The byte-level alphabet of GPT-2: every byte written as one printable character, so that vocabularies are text.
// Source: Radford et al. 2019, section 2.2.  Threads: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dynamo::text {

// The character that stands for `byte`, as UTF-8 ("Ġ" for a space).
std::string_view alphabet_character(unsigned char byte);

std::string to_alphabet(std::string_view bytes);

// Returns: the bytes that `text` stands for; nothing when a character of it is not in the alphabet.
std::optional<std::string> from_alphabet(std::string_view text);

}  // namespace dynamo::text
