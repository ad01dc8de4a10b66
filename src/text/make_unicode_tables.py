#!/usr/bin/env python3
"""Writes unicode_tables.cc: the facts about characters that the tokenizer needs.

The tokenizer has to cut text where the `tokenizers` package cuts it, so the classes are taken from that package by asking
it about every character. It holds four versions of Unicode at once (as of 0.23): its regular expressions know 16.0, its
Digits pre-tokenizer 17.0, the word boundaries of added tokens 16.0, and its NFC the canonical combining classes of 10.0.
Decompositions come from Python's unicodedata, less those that the package does not know.

Run: python3 src/text/make_unicode_tables.py   (needs the `tokenizers` package; a minute)
"""
import pathlib
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

CHARACTERS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
LETTER, NUMBER, SPACE, NUMERIC, WORD, NFC = (1 << i for i in range(6))
HANGUL = range(0xAC00, 0xD7A4)


def matches(pattern):
    removes = pre_tokenizers.Split(Regex(pattern), "removed")
    return {c for c in CHARACTERS if not removes.pre_tokenize_str(chr(c))}


def numeric():
    digits = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CHARACTERS if len(digits.pre_tokenize_str("a" + chr(c) + "a")) == 3}


def word():
    tokenizer = Tokenizer(models.BPE({"ZZ": 0}, []))
    tokenizer.add_tokens([AddedToken("XX", single_word=True)])
    return {c for c in CHARACTERS if not tokenizer.encode("XX" + chr(c)).ids}


def combining_classes(nfc):
    """A mark that the package does not reorder behind a mark of a higher class has class 0 for it."""
    known = {}
    for c in CHARACTERS:
        ccc = unicodedata.combining(chr(c))
        if ccc == 0:
            continue
        other = "\u0345" if ccc < 240 else "\u0334"  # classes 240 and 1, neither composes with a space
        text = " " + (other + chr(c) if ccc < 240 else chr(c) + other)
        if ccc == 240 or nfc.normalize_str(text) != text:
            known[c] = ccc
    return known


def decompositions(nfc):
    """(composed, first, second or 0, composes): one step of canonical decomposition."""
    rows = []
    for c in CHARACTERS:
        mapping = unicodedata.decomposition(chr(c))
        if not mapping or mapping.startswith("<") or c in HANGUL:
            continue
        parts = [int(x, 16) for x in mapping.split()]
        text = "".join(map(chr, parts))
        composes = len(parts) == 2 and nfc.normalize_str(text) == chr(c)
        decomposes = nfc.normalize_str(chr(c)) != chr(c)
        if composes or decomposes:
            rows.append((c, parts[0], parts[1] if len(parts) == 2 else 0, composes))
    return rows


def rows_of(numbers, per_line):
    lines = []
    for i in range(0, len(numbers), per_line):
        lines.append("    " + " ".join(f"{n}," for n in numbers[i : i + per_line]))
    return "\n".join(lines)


def main():
    nfc = normalizers.NFC()
    ccc = combining_classes(nfc)
    steps = decompositions(nfc)
    flags = dict.fromkeys(range(0x110000), 0)
    for bit, members in [
        (LETTER, matches(r"\p{L}")),
        (NUMBER, matches(r"\p{N}")),
        (SPACE, matches(r"\s")),
        (NUMERIC, numeric()),
        (WORD, word()),
        # What may change under NFC, itself or what stands before it.
        (NFC, set(ccc) | {s[0] for s in steps if not s[3]} | {s[2] for s in steps if s[3]}
              | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))),
    ]:
        for c in members:
            flags[c] |= bit
    ranges, last = [], None
    for c in range(0x110000):
        if flags[c] != last:
            last = flags[c]
            ranges.append(f"{{0x{c:x}, {last}}}")
    classes, previous = [], None
    for c in sorted(ccc):
        if previous and previous[1] == c - 1 and previous[2] == ccc[c]:
            previous[1] = c
        else:
            previous = [c, c, ccc[c]]
            classes.append(previous)
    out = f"""// Facts about characters, written by make_unicode_tables.py: do not edit.
#include "text/unicode_tables.h"

namespace dynamo::text {{
namespace {{
// clang-format off
constexpr FlagRange kFlags[] = {{
{rows_of(ranges, 8)}
}};
constexpr CombiningRange kCombining[] = {{
{rows_of([f"{{0x{a:x}, 0x{b:x}, {k}}}" for a, b, k in classes], 6)}
}};
constexpr Decomposition kDecompositions[] = {{
{rows_of([f"{{0x{c:x}, 0x{a:x}, 0x{b:x}, {int(x)}}}" for c, a, b, x in steps], 5)}
}};
// clang-format on
}}  // namespace

std::span<const FlagRange> flag_ranges() {{
  return kFlags;
}}
std::span<const CombiningRange> combining_ranges() {{
  return kCombining;
}}
std::span<const Decomposition> decompositions() {{
  return kDecompositions;
}}

}}  // namespace dynamo::text
"""
    pathlib.Path(__file__).with_name("unicode_tables.cc").write_text(out)
    print(len(ranges), "flag ranges,", len(classes), "combining ranges,", len(steps), "decompositions,", len(out), "bytes")


if __name__ == "__main__":
    main()
