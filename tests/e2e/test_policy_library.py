"""A routing policy out of a user's own shared library, built as docs/reference/routing.md says."""
import shutil
import subprocess

import pytest
from conftest import DYNAMO, MODEL_FILE, PATIENCE, ROOT, web


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc)")
def test_a_users_policy_decides_and_is_named_in_the_explanation(cluster, tmp_path):
    library = tmp_path / "sticky.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-I", ROOT / "src", "-o", library, ROOT / "examples/policies/sticky_session.c"], check=True)
    address = cluster("hub", "hub", "--port", "0")[1](r"hub ready address=(\S+)")
    cluster("mocker", "mocker", "--hub", address, "--model-path", MODEL_FILE, "--served-model-name", "mock", "--num-workers", "2",
            "--speedup-ratio", "50")[1]("(worker ready)")
    _, says = cluster("frontend", "frontend", "--hub", address, "--http-host", "127.0.0.1", "--http-port", "0", "--router-mode", "kv",
                      "--router-policy-library", library)
    url = says(r"serving url=(\S+)")
    says("(model served)")
    answer = web.post(f"{url}/v1/completions", json={"model": "mock", "prompt": "Hello", "max_tokens": 2})
    assert answer.status_code == 200
    decision = web.get(f"{url}/router/explain?last=1").json()["decisions"][0]
    assert decision["mode"] == "library" and decision["reason"].startswith("sticky_session/")


def test_a_library_that_is_none_is_refused_at_the_start(tmp_path):
    wrong = tmp_path / "wrong.so"
    wrong.write_text("not a library")
    done = subprocess.run([DYNAMO, "frontend", "--http-port", "0", "--router-policy-library", wrong], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and "wrong.so cannot be loaded as a library" in done.stderr
