"""Model files as they are in the world: split into parts, with an eos that does not end the turns of the chat template."""
import subprocess

import pytest
from conftest import DYNAMO, MODEL_FILE, PATIENCE, wait_until, web
from gguf_file import GgufFile, integer

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The default model in three parts, its eos the end of a text, as in files that were made of a base model."""
    folder = tmp_path_factory.mktemp("parts")
    whole = GgufFile(MODEL_FILE)
    assert whole.metadata["tokenizer.ggml.eos_token_id"] == integer(2)
    whole.metadata["tokenizer.ggml.eos_token_id"] = integer(0)
    paths = [folder / f"smol-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
    whole.split(paths)
    return paths


def describe(path):
    return subprocess.run([DYNAMO, "model", path], capture_output=True, text=True, timeout=PATIENCE)


def test_a_model_in_parts_is_shown_whole_whichever_is_named(parts):
    for named in parts:
        done = describe(named)
        assert done.returncode == 0, done.stderr
        assert "GGUF v3, 3 parts" in done.stdout
        for path in parts:
            assert f"file            {path}" in done.stdout
        assert "ends an answer  0 '<|endoftext|>', by tokenizer.ggml.eos_token_id, its text\n" in done.stdout
        assert "ends an answer  2 '<|im_end|>', by its text, the chat template\n" in done.stdout


def test_a_part_that_is_missing_is_named(parts, tmp_path):
    there = tmp_path / parts[0].name
    there.symlink_to(parts[0])
    done = describe(there)
    assert done.returncode == 1
    assert f"{tmp_path / parts[1].name}: there is no such file" in done.stderr
    assert "part 1 of 3" in done.stderr


def test_answers_of_a_model_in_parts_end_where_turns_do(parts, cluster):
    _, says = cluster("serve", "serve", "--model-path", parts[1], "--http-host", "127.0.0.1", "--http-port", "0")
    url = says(r"\[INFO\] serving .*url=(\S+)")
    wait_until(lambda: web.get(f"{url}/ready").status_code == 200)
    wait_until(lambda: [model["id"] for model in web.get(f"{url}/v1/models").json()["data"]] == ["smol"])

    def ask(**more):
        body = {"model": "smol", "messages": QUESTION, "temperature": 0, "max_tokens": 40, **more}
        return web.post(f"{url}/v1/chat/completions", json=body).raise_for_status().json()["choices"][0]

    answer = ask()
    assert (answer["message"]["content"], answer["finish_reason"]) == ("The capital of France is Paris.", "stop")
    assert ask(ignore_eos=True)["finish_reason"] == "length"
