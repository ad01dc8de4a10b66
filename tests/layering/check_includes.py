#!/usr/bin/env python3
"""Checks every #include of ours against the table of modules in src/README.md.

Usage: check_includes.py [SRC]      (default: the src folder of this checkout)
Prints one line per violation and exits 1 if there is any. Tests, benchmarks and fuzzers may also include other modules'
testing/ folders and whatever those modules may include.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
ROW = re.compile(r"^\|\s*\d+\s*\|\s*(\w+)\s*\|[^|]*\|([^|]*)\|\s*$", re.MULTILINE)


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


def violations(src):
    table = read_table(src / "README.md")
    found = []
    folders = {folder.name for folder in src.iterdir() if folder.is_dir()}
    for missing in sorted(folders - table.keys()):
        found.append(f"src/{missing}: no row in src/README.md")
    for path in sorted(src.rglob("*")):
        if path.suffix not in {".h", ".cc", ".cu", ".cuh"}:
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
    return found


def main():
    src = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2] / "src"
    found = violations(src)
    print("\n".join(found) if found else "every include is in the table of src/README.md")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
