#!/usr/bin/env python3
"""Checks every #include of ours against the table of modules in src/README.md.

Usage: check_includes.py [SRC]      (default: the src folder of this checkout)
Prints one line per violation and exits 1 if there is any.

- A file includes headers of its own module and of those in its module's row. Tests, benchmarks and fuzzers may also
  include other modules' testing/ folders.
- A header whose opening comment says "Private to the module." is included by its own module only, tests among it.
- Every module that a row allows is included by a production file of that row's module.
- src/CMakeLists.txt names no module as a library: CMake links modules by the same table (dynamo_module_edges in
  cmake/modules.cmake). Fakes of other modules, dynamo_x_testing, are named there.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
ROW = re.compile(r"^\|\s*\d+\s*\|\s*(\w+)\s*\|[^|]*\|([^|]*)\|\s*$", re.MULTILINE)
OPENING_COMMENT = re.compile(r"\A(?://[^\n]*\n)+")
PRIVATE = "Private to the module."
MODULE = re.compile(r"\bdynamo_module\(\w+([^)]*)\)")
SOURCES = {".h", ".cc", ".inl", ".cu", ".cuh"}


def read_table(readme):
    """Module -> modules that it may include, itself among them."""
    table = {name: set(allowed.split()) | {name} for name, allowed in ROW.findall(readme.read_text())}
    if not table:
        raise SystemExit(f"{readme}: no table of modules found")
    for name, allowed in table.items():
        for other in allowed - table.keys():
            raise SystemExit(f"{readme}: row '{name}' names '{other}', which has no row")
    return table


def is_test_code(path):
    return re.search(r"_(test|bench|fuzz|tool)\.cc$", path.name) or path.parent.name == "testing"


def is_private(header):
    opening = OPENING_COMMENT.match(header.read_text(errors="replace")) if header.is_file() else None
    return opening is not None and PRIVATE in opening.group()


def violations(src):
    table = read_table(src / "README.md")
    found = []
    folders = {folder.name for folder in src.iterdir() if folder.is_dir()}
    for missing in sorted(folders - table.keys()):
        found.append(f"src/{missing}: no row in src/README.md")
    unused = {name: allowed - {name} for name, allowed in table.items()}
    for path in sorted(src.rglob("*")):
        if path.suffix not in SOURCES:
            continue
        module = path.relative_to(src).parts[0]
        for target in INCLUDE.findall(path.read_text(errors="replace")):
            place = f"src/{path.relative_to(src)}"
            parts = pathlib.PurePosixPath(target).parts
            if len(parts) < 2 or parts[0] not in table:
                found.append(f'{place}: include "{target}" is not written from the root of src')
            elif "testing" in parts[:-1] and not is_test_code(path):
                found.append(f'{place}: "{target}" is for tests only')
            elif parts[0] not in table.get(module, set()) and not ("testing" in parts and is_test_code(path)):
                found.append(f'{place}: module {module} may not include {parts[0]} ("{target}")')
            elif parts[0] != module and is_private(src / target):
                found.append(f'{place}: "{target}" is private to the module {parts[0]}')
            if module in unused and not is_test_code(path):
                unused[module].discard(parts[0])
    for module, others in sorted(unused.items()):
        for other in sorted(others):
            found.append(f"src/README.md: {module} may include {other}, which no production file of it does")
    return found + named_edges(src / "CMakeLists.txt")


def named_edges(cmake):
    text = cmake.read_text() if cmake.exists() else ""
    libraries = (name for arguments in MODULE.findall(text) for name in re.findall(r"\bdynamo_\w+", arguments))
    return [f"src/CMakeLists.txt: {name} is linked by name; the table of src/README.md says who links to it"
            for name in libraries if not name.endswith("_testing")]


def report(violations, all_is_well):
    """Prints what violations() finds in the tree that the command line names, or ours. Returns: the exit status."""
    src = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2] / "src"
    found = violations(src)
    print("\n".join(found) if found else all_is_well)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(report(violations, "every include is in the table of src/README.md"))
