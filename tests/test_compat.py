"""python -m dynamo…: the program's front doors for other systems' command lines."""
import os
import shutil
import subprocess
import sys

import pytest
from conftest import DYNAMO, PATIENCE, ROOT, wait_until

COMPAT = ROOT / "compat/python"
MODULES = {
    "dynamo.frontend": "frontend",
    "dynamo.mocker": "mocker",
    "dynamo.sglang": "worker",
    "dynamo.sglang.worker": "worker",
    "dynamo.sglang.decode_worker": "decode-worker",
    "dynamo.vllm": "worker",
    "dynamo.vllm.worker": "worker",
}


def run(module, *arguments, **env):
    return subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=PATIENCE,
                          env={**os.environ, "PYTHONPATH": str(COMPAT), "DYNAMO_BIN": str(DYNAMO), **env})


@pytest.mark.parametrize("module", MODULES)
def test_each_module_is_its_command(module):
    done = run(module, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout == subprocess.run([DYNAMO, MODULES[module], "--help"], capture_output=True, text=True, check=True).stdout


def test_flags_and_exit_status_go_through():
    done = run("dynamo.frontend", "--router-mode", "teleport")
    assert done.returncode == 2 and "teleport" in done.stderr


def test_the_process_keeps_the_modules_name_and_flags():
    arguments = ["--model-path", "none", "--disaggregation-mode", "aggregated", "--hub", "127.0.0.1:9", "--startup-timeout", "30"]
    process = subprocess.Popen([sys.executable, "-m", "dynamo.sglang.worker", "--model-path", "none", *arguments], stderr=subprocess.DEVNULL,
                               env={**os.environ, "PYTHONPATH": str(COMPAT), "DYNAMO_BIN": str(DYNAMO)})
    try:
        wait_until(lambda: open(f"/proc/{process.pid}/cmdline").read().replace("\0", " ").startswith("dynamo.sglang.worker"))
        found = subprocess.run(["pgrep", "-f", r"dynamo\.sglang\.worker.*aggregated"], capture_output=True, text=True).stdout.split()
        assert str(process.pid) in found
    finally:
        process.kill()
        process.wait(PATIENCE)


def test_a_missing_program_is_said(tmp_path):
    done = run("dynamo.frontend", DYNAMO_BIN=str(tmp_path / "absent"))
    assert done.returncode == 1 and "absent" in done.stderr
    copy = tmp_path / "site"
    copy.mkdir()
    subprocess.run(["cp", "-r", COMPAT / "dynamo", copy], check=True)
    done = subprocess.run([sys.executable, "-m", "dynamo.frontend"], capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE,
                          env={"PYTHONPATH": str(copy), "PATH": "/nowhere"})
    assert done.returncode == 1 and "DYNAMO_BIN" in done.stderr


def test_pip_installs_it(tmp_path):
    source = shutil.copytree(COMPAT, tmp_path / "source")  # building leaves files behind
    done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path, source], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0 and ("No matching distribution" in done.stderr or "Temporary failure" in done.stderr):
        pytest.skip("pip cannot reach a package index for setuptools")
    assert done.returncode == 0, done.stderr
    help_text = subprocess.run([sys.executable, "-m", "dynamo.mocker", "--help"], capture_output=True, text=True, cwd=tmp_path,
                               env={**os.environ, "PYTHONPATH": str(tmp_path), "DYNAMO_BIN": str(DYNAMO)})
    assert "--num-workers" in help_text.stdout
