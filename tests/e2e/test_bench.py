"""dynamo bench against simulated workers: every kind of workload, what it reports, and what it refuses."""
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest
from conftest import DYNAMO, MODEL_FILE, PATIENCE, wait_until, web


@pytest.fixture
def url(cluster):
    address = cluster("hub", "hub", "--port", "0")[1](r"hub ready address=(\S+)")
    cluster("mocker", "mocker", "--hub", address, "--model-path", MODEL_FILE, "--served-model-name", "mock", "--num-workers", "2",
            "--speedup-ratio", "50")[1]("(worker ready)")
    process, says = cluster("frontend", "frontend", "--hub", address, "--http-host", "127.0.0.1", "--http-port", "0", "--router-mode", "kv")
    found = Url(says(r"serving url=(\S+)"))
    found.frontend = process.pid
    says("(model served)")
    return found


class Url(str):
    """A frontend's, with its process id."""


def sockets_of(pid):
    count = 0
    for one in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += os.readlink(one).startswith("socket:")
        except FileNotFoundError:
            pass
    return count


def bench(url, *flags, check=True):
    done = subprocess.run([DYNAMO, "bench", "--url", url, *map(str, flags)], capture_output=True, text=True, timeout=PATIENCE)
    assert not check or done.returncode == 0, done.stderr
    return done


def report_of(url, *flags):
    return json.loads(bench(url, "--json", *flags).stdout)


def test_prompts_of_exact_length_and_a_table_for_people(url, tmp_path):
    out = tmp_path / "report.json"
    lines = tmp_path / "samples.jsonl"
    done = bench(url, "--conversations", 20, "--input-tokens", 100, "--output-tokens", 8, "--warmup", 4, "--concurrency", 4,
                 "--output", out, "--samples", lines)
    assert "time to first token" in done.stdout and "16 complete, 0 failed" in done.stdout
    report = json.loads(out.read_text())
    assert report["model"] == "mock"
    assert report["prompt_tokens"] == 16 * 100 and report["output_tokens"] == 16 * 8
    assert report["ttft_ms"]["count"] == 16 and 0 < report["ttft_ms"]["p50"] <= report["request_ms"]["p50"]
    assert report["client"]["connections"] <= 4  # kept, not one a request
    samples = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(samples) == 16 and all(one["error"] == "" and one["worker"].startswith("worker-") for one in samples)


def test_shared_prefixes_and_turns_hit_the_cache_as_the_endless_cache_would(url):
    report = report_of(url, "--conversations", 12, "--turns", 3, "--shared-prefixes", 2, "--prefix-tokens", 320, "--input-tokens", 64,
                       "--output-tokens", 16, "--concurrency", 1)
    assert report["complete"] == 36
    assert report["ideal_cached_share"] > 0.6
    assert report["cached_tokens"] >= 0.8 * report["ideal_cached_tokens"]


def test_chat_turns_send_the_answers_back(url):
    report = report_of(url, "--endpoint", "chat", "--conversations", 4, "--turns", 3, "--input-tokens", 50, "--output-tokens", 20,
                       "--concurrency", 2)
    assert report["complete"] == 12 and report["failed"] == 0
    assert report["prompt_tokens"] > 4 * (50 + 120 + 190)  # each turn has all before it
    assert report["cached_share"] > 0.3


def test_a_rate_is_kept_and_a_trace_replayed_at_its_own_times(url, tmp_path):
    report = report_of(url, "--conversations", 40, "--rate", 40, "--arrivals", "constant", "--input-tokens", 32, "--output-tokens", 2,
                       "--concurrency", 0)
    assert report["complete"] == 40 and report["seconds"] >= 39 / 40
    trace = tmp_path / "trace.jsonl"
    trace.write_text("".join(json.dumps({"timestamp": 100 * i, "input_length": 700, "output_length": 3, "hash_ids": [0, i + 1]}) + "\n"
                             for i in range(10)))
    report = report_of(url, "--trace", trace, "--time-scale", 0.5)
    assert report["complete"] == 10 and report["seconds"] >= 0.45
    assert report["prompt_tokens"] == 7000 and report["ideal_cached_tokens"] == 9 * 512


def test_prompts_from_a_file(url, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Hello there\nHow are you?\n")
    for endpoint in ("chat", "completions"):
        assert report_of(url, "--prompts", prompts, "--conversations", 6, "--output-tokens", 5, "--endpoint", endpoint)["complete"] == 6


def test_failures_are_counted_by_what_the_server_said(url):
    done = bench(url, "--conversations", 3, "--model", "nothing-like-it", check=False)
    assert done.returncode == 1 and "3x HTTP 404" in done.stdout and "no request was answered" in done.stderr
    done = bench("http://127.0.0.1:1", "--conversations", 3, check=False)
    assert done.returncode == 1 and "127.0.0.1:1" in done.stderr


def test_bad_command_lines_are_refused_before_anything_is_sent(url, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{}\n")
    for flags, why in [(("--trace", bad), "bad.jsonl:1: 'timestamp'"), (("--trace", tmp_path / "none"), "none: cannot be read"),
                       (("--warmup", 100), "--warmup 100 leaves none"), (("--output", "/nowhere/x"), "/nowhere/x: cannot be written")]:
        done = bench(url, *flags, check=False)
        assert done.returncode == 1 and why in done.stderr, done.stderr
    assert bench(url, "--endpoint", "images", check=False).returncode == 2


def test_an_interrupt_ends_the_run_and_reports_what_there_is(url):
    process = subprocess.Popen([DYNAMO, "bench", "--url", url, "--conversations", "100000", "--output-tokens", "4", "--input-tokens", "16",
                                "--json"], stdout=subprocess.PIPE, text=True)
    answered = re.compile(r'^dynamo_frontend_requests_total{.*status="200".*} (\d+)$', re.MULTILINE)
    wait_until(lambda: sum(map(int, answered.findall(web.get(f"{url}/metrics").text))) > 300)
    process.send_signal(signal.SIGINT)
    report = json.loads(process.communicate(timeout=PATIENCE)[0])
    assert process.returncode == 0
    assert report["is_interrupted"] and 0 < report["complete"] < 100000 and report["failed"] == 0


def test_requests_need_no_sockets_of_their_own_towards_workers(url):
    before = sockets_of(url.frontend)
    process = subprocess.Popen([DYNAMO, "bench", "--url", url, "--conversations", "400", "--concurrency", "32", "--input-tokens", "64",
                                "--output-tokens", "16", "--model", "mock", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    most = before
    while process.poll() is None:
        most = max(most, sockets_of(url.frontend))
    report = json.loads(process.stdout.read())
    assert report["complete"] == 400 and report["client"]["connections"] == 32
    assert before < most <= before + 32  # one for each client, none for their requests
