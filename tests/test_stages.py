"""scripts/stages.sh: stages run beside each other, and the first that fails ends the script and what still runs."""
import os
import re
import subprocess

from conftest import PATIENCE, ROOT


def run(tmp_path, script):
    (tmp_path / "script.sh").write_text(f"set -euo pipefail\n. {ROOT}/scripts/stages.sh\n{script}")
    return subprocess.run(["bash", "script.sh"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)


def test_each_stage_says_when_it_begins_and_when_it_ends(tmp_path):
    done = run(tmp_path, "begin one true\nbegin two echo something\nfinish one\nfinish\nstep over\n")
    assert done.returncode == 0, done.stderr
    for name in ("one", "two"):
        assert re.search(rf"^== \[ +\d+ s\] {name} begins$", done.stdout, re.MULTILINE)
        assert re.search(rf"^== \[ +\d+ s\] {name} passed, \d+ s$", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1].endswith("over")
    assert (tmp_path / "build/test/two.log").read_text() == "something\n"


def test_stages_run_beside_each_other(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opened by neither end alone
    done = run(tmp_path, "begin reader cat pipe\nbegin writer bash -c 'echo met > pipe'\nfinish\n")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "build/test/reader.log").read_text() == "met\n"


def test_the_first_that_fails_is_shown_and_ends_the_others(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = run(tmp_path, "begin endless cat pipe\nbegin wrong bash -c 'echo why; exit 3'\nfinish\nstep over\n")
    assert done.returncode == 1
    assert "why" in done.stderr and "wrong FAILED" in done.stderr and "build/test/wrong.log" in done.stderr
    assert "over" not in done.stdout
    done = run(tmp_path, "begin endless cat pipe\nbegin wrong false\nfinish wrong\nstep over\n")
    assert done.returncode == 1 and "over" not in done.stdout
