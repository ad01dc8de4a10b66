"""The table of modules in src/README.md holds, and a tree that breaks it is caught."""
import pathlib

import check_includes
import pytest

TABLE = """
| level | module | one job | may include |
|---|---|---|---|
| 0 | base | status | |
| 1 | kv | blocks | base |
| 3 | engine | steps | base kv |
"""


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "README.md").write_text(TABLE)
    for name in ("base", "kv/testing", "engine"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "engine/engine.cc").write_text('#include <vector>\n#include "engine/engine.h"\n#include "kv/block.h"\n')
    (tmp_path / "kv/block.h").write_text('#include "base/status.h"\n')
    (tmp_path / "engine/steps.inl").write_text('#include "base/status.h"\n')
    (tmp_path / "CMakeLists.txt").write_text("dynamo_module(kv LINK XXH::xxh TEST_LINK dynamo_base_testing)\n")
    (tmp_path / "engine/engine_test.cc").write_text('#include "kv/testing/fake_block.h"\n')
    return tmp_path


def test_our_tree_keeps_to_its_table():
    src = pathlib.Path(__file__).resolve().parents[2] / "src"
    assert check_includes.violations(src) == []


def test_a_tree_that_keeps_to_its_table_passes(tree):
    assert check_includes.violations(tree) == []


@pytest.mark.parametrize(
    "place, include, said",
    [
        ("kv/block.h", "engine/engine.h", "module kv may not include engine"),
        ("base/status.h", "kv/block.h", "module base may not include kv"),
        ("engine/engine.h", "engine.h", "not written from the root of src"),
        ("engine/engine.h", "kv/testing/fake_block.h", "is for tests only"),
        ("rogue/rogue.h", "base/status.h", "no row in src/README.md"),
    ],
)
def test_a_violation_is_named(tree, place, include, said):
    path = tree / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#include "{include}"\n')
    found = check_includes.violations(tree)
    assert any(said in line and place.split("/")[0] in line for line in found), found


@pytest.mark.parametrize("place", ["engine/engine.cc", "engine/engine_test.cc"])
def test_a_private_header_is_for_its_own_module(tree, place):
    (tree / "kv/table.h").write_text("// How blocks are found.\n// Threads: one.  Private to the module.\n#pragma once\n")
    for path in ("kv/block.h", "kv/block_test.cc"):
        (tree / path).write_text('#include "base/status.h"\n#include "kv/table.h"\n')
    assert check_includes.violations(tree) == []
    (tree / place).write_text('#include "kv/block.h"\n#include "kv/table.h"\n')
    assert check_includes.violations(tree) == [f'src/{place}: "kv/table.h" is private to the module kv']


def test_a_row_that_allows_what_only_tests_include_is_named(tree):
    (tree / "engine/engine.cc").write_text("#include <vector>\n")
    (tree / "engine/engine_test.cc").write_text('#include "kv/block.h"\n')
    found = check_includes.violations(tree)
    assert found == ["src/README.md: engine may include kv, which no production file of it does"]


def test_a_module_linked_beside_the_table_is_named(tree):
    (tree / "CMakeLists.txt").write_text("dynamo_module(kv ASYNC\n  LINK dynamo_base TEST_LINK dynamo_base_testing)\n")
    found = check_includes.violations(tree)
    assert len(found) == 1 and "dynamo_base is linked by name" in found[0], found
