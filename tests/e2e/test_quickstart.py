"""README's first command, on a checkout that is already built."""
import os
import re
import signal
import subprocess

from conftest import PATIENCE, ROOT, web


def quickstart(*arguments):
    first_time = {name: value for name, value in os.environ.items() if name != "DYN_THREADS"}
    return subprocess.run(["./quickstart.sh", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
                          env=first_time)


def test_quickstart_prints_the_answer_and_how_long_it_took():
    done = quickstart()
    assert done.returncode == 0, done.stderr
    assert "The capital of France is Paris." in done.stdout
    assert re.search(r"first token after \d+ ms, [\d.]+ tokens/s", done.stdout)
    hit = re.search(r"the second turn .* went to (decode-worker-[12]) too, which had (\d+) of its (\d+) prompt tokens", done.stdout)
    assert hit and int(hit.group(2)) >= 32, done.stdout
    assert re.search(r"prefill to decode: \d+ KV blocks, [\d.]+ MB, moved over shared memory at [\d.]+ GB/s", done.stdout), done.stdout


def test_quickstart_asks_another_question_and_keeps_the_server():
    done = quickstart("--keep", "Say hello.")
    assert done.returncode == 0, done.stderr
    assert "asking: Say hello." in done.stdout
    found = re.search(r"The server goes on at (\S+) \(process (\d+)", done.stdout)
    assert found, done.stdout
    url, process = found.group(1), int(found.group(2))
    try:
        assert web.get(f"{url}/ready").status_code == 200
    finally:
        os.kill(process, signal.SIGTERM)


def test_quickstart_refuses_an_unknown_flag():
    done = quickstart("--what")
    assert done.returncode == 2
    assert "--what" in done.stderr
