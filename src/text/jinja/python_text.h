// Python's str methods that depend on what a character is: case mapping and classes.
// Equal to Python's own, final sigma and "ß" included; bytes that are no UTF-8 stay as they are.  Threads: pure functions.
// Private to the module.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dynamo::text::jinja {

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);
// jinja2's filter of that name: words begin after white space and any of "-({[<".
std::string title_words(std::string_view text);

bool is_upper(std::string_view text);
bool is_lower(std::string_view text);

enum CharacterClass : uint16_t {
  kUpper = 1,
  kLower = 2,
  kTitle = 4,
  kCased = 8,     // ends the search for a word's neighbour of a sigma, as a letter with case
  kSkipped = 16,  // is passed over in that search
  kAlpha = 32,
  kDigit = 64,
  kOtherAlnum = 128,  // alphanumeric, but not kAlpha
  kSpace = 256
};
// The classes of the one character that `character` is.
uint16_t classes_of(std::string_view character);

}  // namespace dynamo::text::jinja
