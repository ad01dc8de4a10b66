#include "text/jinja/python_text.h"

#include <gtest/gtest.h>
#include <boost/crc.hpp>

#include "text/utf8.h"

namespace dynamo::text::jinja {
namespace {

// CRC-32 of the results for every character, a line each.
template <class Function>
uint32_t checksum(Function function) {
  boost::crc_32_type crc;
  for (char32_t point = 0; point < 0x110000; ++point) {
    if (point >= 0xD800 && point < 0xE000) continue;
    std::string character;
    append_character(point, &character);
    const std::string line = function(character) + "\n";
    crc.process_bytes(line.data(), line.size());
  }
  return crc.checksum();
}

// The numbers are Python's own, printed by make_character_tables.py.
TEST(PythonText, EveryCharacterMapsAsInPython) {
  EXPECT_EQ(checksum(upper), 1568534807u);
  EXPECT_EQ(checksum(lower), 1537241376u);
  EXPECT_EQ(checksum(title), 1382699521u);
}

TEST(PythonText, EveryCharacterIsOfItsClassesInPython) {
  EXPECT_EQ(checksum([](std::string_view c) {
              const uint16_t of = classes_of(c);
              return fmt::format("{:d}{:d}{:d}{:d}{:d}{:d}", is_upper(c), is_lower(c), (of & kAlpha) != 0,
                                 (of & kDigit) != 0, (of & (kAlpha | kOtherAlnum)) != 0, (of & kSpace) != 0);
            }),
            3266993885u);
}

TEST(PythonText, ASigmaIsFinalOnlyAtTheEndOfItsWord) {
  EXPECT_EQ(lower("ΌΔΟΣ. Σ ΑΣ' ΑΣ'Α"), "όδος. σ ας' ασ'α");
}

TEST(PythonText, BytesThatAreNoCharacterStay) {
  EXPECT_EQ(upper("a\xFF\xC3"), "A\xFF\xC3");
  EXPECT_EQ(lower("A\xE2\x82"), "a\xE2\x82");
  EXPECT_FALSE(is_upper("\xFF"));
}

}  // namespace
}  // namespace dynamo::text::jinja
