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
