#!/usr/bin/env python3
"""Writes character_tables.cc: what Python's str methods know of each character (case mapping and classes).

Prints the checksums that python_text_test.cc has of Python's own results for every character.
Run: python3 src/text/jinja/make_character_tables.py     (Python's own Unicode version is written into the file)
"""
import pathlib
import unicodedata
import zlib

CHARACTERS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
SIGMA = "\u03a3"


def flags_of(c):
    s = chr(c)
    ends_word = (s + SIGMA).lower()[-1] == "\u03c2"  # cased, and not skipped when looking for a cased one
    is_skipped_or_cased = ("A" + s + SIGMA).lower()[-1] == "\u03c2"
    bits = [s.isupper(), s.islower(), s.istitle() and not s.isupper(), ends_word, is_skipped_or_cased and not ends_word,
            s.isalpha(), s.isdigit(), s.isalnum() and not s.isalpha(), s.isspace()]
    return sum(1 << i for i, bit in enumerate(bits) if bit)


def runs_of_mappings():
    """[first, last, step, upper, lower, title deltas] of characters with single-character mappings, and the others."""
    runs, special = [], []
    for c in CHARACTERS:
        s = chr(c)
        mapped = [s.upper(), s.lower() if s != SIGMA else "\u03c3", s.title()]
        if all(m == s for m in mapped):
            continue
        if any(len(m) != 1 for m in mapped):
            special.append((c, mapped))
            continue
        deltas = [ord(m) - c for m in mapped]
        for run in reversed(runs[-2:]):
            gap = c - run[1]
            if run[3:] == deltas and gap in (1, 2) and (run[2] == 0 or run[2] == gap):
                run[1], run[2] = c, gap
                break
        else:
            runs.append([c, c, 0, *deltas])
    return [[a, b, step or 1, *rest] for a, b, step, *rest in runs], special


def lines_of(rows, per_line):
    return "\n".join("    " + " ".join(f"{row}," for row in rows[i : i + per_line]) for i in range(0, len(rows), per_line))


def checksum(function):
    """CRC-32 of the results for all characters, a line each."""
    return zlib.crc32("".join(function(chr(c)) + "\n" for c in CHARACTERS).encode())


def main():
    ranges, last = [], None
    for c in range(0x110000):
        flags = 0 if 0xD800 <= c < 0xE000 else flags_of(c)
        if flags != last:
            last = flags
            ranges.append(f"{{0x{c:x}, {flags}}}")
    runs, special = runs_of_mappings()
    quoted = lambda text: '"' + "".join(f"\\x{b:02x}" for b in text.encode()) + '"'
    out = f"""// What Python's str methods know of each character, Unicode {unicodedata.unidata_version}; written by make_character_tables.py: do not edit.
#include "text/jinja/character_tables.h"

namespace dynamo::text::jinja {{
namespace {{
// clang-format off
constexpr FlagRange kFlags[] = {{
{lines_of(ranges, 9)}
}};
constexpr CaseRun kRuns[] = {{
{lines_of(["{0x%x, 0x%x, %d, %d, %d, %d}" % tuple(r) for r in runs], 5)}
}};
constexpr SpecialCase kSpecial[] = {{
{lines_of(["{0x%x, %s, %s, %s}" % (c, *map(quoted, m)) for c, m in special], 2)}
}};
// clang-format on
}}  // namespace

std::span<const FlagRange> flag_ranges() {{
  return kFlags;
}}
std::span<const CaseRun> case_runs() {{
  return kRuns;
}}
std::span<const SpecialCase> special_cases() {{
  return kSpecial;
}}

}}  // namespace dynamo::text::jinja
"""
    pathlib.Path(__file__).with_name("character_tables.cc").write_text(out)
    for function in (str.upper, str.lower, str.title):
        print(function.__name__, checksum(function))
    print("classes", checksum(lambda c: "".join(str(int(f(c))) for f in (str.isupper, str.islower, str.isalpha, str.isdigit, str.isalnum, str.isspace))))
    print(len(ranges), "flag ranges,", len(runs), "runs,", len(special), "special,", len(out), "bytes")


if __name__ == "__main__":
    main()
