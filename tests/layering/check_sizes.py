#!/usr/bin/env python3
"""Checks that production code is in pieces that can be read: files, classes and functions have a most.

Usage: check_sizes.py [SRC]      (default: the src folder of this checkout)
Prints one line per violation and exits 1 if there is any.

- No file is longer than 500 lines, and no class than 300.
- No function is longer than 60 lines, unless the comment above it says why: "Long because ...".
Left out: kernels/, tests and what is built for them alone, and generated tables ("written by make_x.py" in the first lines).
"""
import re
import sys

import check_includes

MOST_IN_FILE = 500
MOST_IN_CLASS = 300
MOST_IN_FUNCTION = 60
EXCUSE = "Long because"
# What may stand between a function's parameters and its body.
BEFORE_BODY = re.compile(r"(?:\)|\b(?:const|noexcept|override|final|try))\s*$|->\s*[\w:<>,*&\s]+$")


def without_text(source):
    """The source with comments, strings and characters blanked out, line ends kept."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![\w])\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)
    blank = token.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), source)
    return re.sub(r"^[ \t]*#(?:[^\n\\]|\\.)*(?:\\\n[^\n]*)*",
                  lambda found: re.sub(r"[^\n]", " ", found.group()), blank, flags=re.MULTILINE)


def kind_of(before, parent):
    """What a brace opens, told from the text since the last `;` or brace: "scope", "class", "function" or "other"."""
    before = re.sub(r"\b(?:template|requires)\s*<[^{}]*?>\s*(?=\w)", "", before).strip()
    if re.match(r"(?:inline\s+)?namespace\b|extern\b", before):
        return "scope"
    if parent not in ("scope", "class"):
        return "other"
    if re.search(r"\b(?:class|struct|union)\s+[^()=]*$", before):
        return "class"
    return "function" if "(" in before and BEFORE_BODY.search(before) else "other"


def pieces(source):
    """(kind, name, first line, last line) of each class and function, lines from 1 on."""
    text = without_text(source)
    open_braces = []  # kind, text before it, line of that text
    start = 0
    for found in re.finditer(r"[{};]", text):
        parent = open_braces[-1][0] if open_braces else "scope"
        if found.group() == "{":
            before = text[start:found.start()]
            kind = kind_of(before, parent)
            first = start + len(before) - len(before.lstrip())
            open_braces.append((kind, before, first))
            if kind == "other" and parent in ("scope", "class"):
                continue  # a member's initializer: the function's head goes on after it
        elif found.group() == "}" and open_braces:
            kind, before, first = open_braces.pop()
            if kind in ("class", "function"):
                name = re.search(r"([\w:~]+)\s*\(" if kind == "function" else r"\b(?:class|struct|union)\s+([\w:]+)", before)
                yield (kind, name.group(1) if name else before.strip(), text.count("\n", 0, first) + 1,
                       text.count("\n", 0, found.start()) + 1)
            if kind == "other" and open_braces[-1:] and open_braces[-1][0] in ("scope", "class"):
                continue
        elif open_braces and open_braces[-1][0] == "other":
            continue
        start = found.end()


def comment_above(lines, first):
    above = []
    while first > 1 and lines[first - 2].lstrip().startswith("//"):
        first -= 1
        above.append(lines[first - 1])
    return "\n".join(above)


def faults_of(place, source):
    lines = source.splitlines()
    if len(lines) > MOST_IN_FILE:
        yield f"{place}: {len(lines)} lines; {MOST_IN_FILE} are the most"
    for kind, name, first, last in pieces(source):
        size = last - first + 1
        if kind == "class" and size > MOST_IN_CLASS:
            yield f"{place}:{first}: {name} has {size} lines; {MOST_IN_CLASS} are the most for a class"
        if kind == "function" and size > MOST_IN_FUNCTION and EXCUSE not in comment_above(lines, first):
            yield f'{place}:{first}: {name} has {size} lines; above {MOST_IN_FUNCTION} a comment says "{EXCUSE} ..."'


def is_production(src, path):
    return (path.suffix in check_includes.SOURCES and not check_includes.is_test_code(path)
            and path.relative_to(src).parts[0] != "kernels")


def violations(src):
    found = []
    for path in sorted(src.rglob("*")):
        if not is_production(src, path):
            continue
        source = path.read_text(errors="replace")
        if "written by make_" not in "\n".join(source.splitlines()[:3]):
            found += faults_of(f"src/{path.relative_to(src)}", source)
    return found


if __name__ == "__main__":
    sys.exit(check_includes.report(violations, "every file, class and function is of a size to be read"))
