"""Prompts computed by one worker and answered by another: clients notice nothing, whatever the prompt, and whoever dies."""
import concurrent.futures
import json
import math
import os
import random
import re
import signal
import sys
import threading
import time

import pytest
from conftest import MODEL, MODEL_FILE, Server, wait_until, web, why_no_nixl

CONTEXT = 1024
BLOCK_BYTES = 30 * 2 * 3 * 64 * 16 * 2  # layers, K and V, heads, dim, tokens, bytes


@pytest.fixture(scope="module")
def reference():
    running = Server("--context-length", str(CONTEXT))
    yield running
    running.stop()


@pytest.fixture(scope="module", params=["shm", "tcp", "nixl"])
def backend(request):
    """The environment that makes workers use this backend."""
    if request.param == "nixl" and (reason := why_no_nixl()):
        pytest.skip(reason)
    dead_etcd = "http://127.0.0.1:1"  # not asked: workers give NIXL its metadata
    return {"DYN_DISAGGREGATION_TRANSFER_BACKEND": request.param, "VIRTUAL_ENV": sys.prefix, "NIXL_ETCD_ENDPOINTS": dead_etcd}


@pytest.fixture(scope="module")
def split(backend):
    running = Server("--context-length", str(CONTEXT), "--prefill-workers", "2", "--decode-workers", "2", "--router-mode", "kv", env=backend)
    running.seed = sum(map(ord, backend["DYN_DISAGGREGATION_TRANSFER_BACKEND"]))  # the reference has seen the other backends' prompts
    yield running
    running.stop()


def prompt_of(size, seed=0):
    draw = random.Random(size * 1_000_000 + seed)
    return [draw.randrange(1000, 20000) for _ in range(size)]


def ask(server, body, path="/v1/completions"):
    reply = web.post(f"{server.url}{path}", json={"model": MODEL, "max_tokens": 12, "temperature": 0, "ignore_eos": True} | body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def said(reply):
    return [(one["text"], one["logprobs"], one["finish_reason"]) for one in reply["choices"]], reply["usage"]


def stream(server, body):
    """Text, finish reason, usage and events of a streamed answer."""
    text, finish, usage = "", None, None
    whole = {"model": MODEL, "temperature": 0, "stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True} | body
    with web.stream("POST", f"{server.url}/v1/completions", json=whole) as reply:
        assert reply.status_code == 200, reply.read()
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            assert "error" not in event, event
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                text += choice["text"]
                finish = choice["finish_reason"] or finish
    return text, finish, usage


def total(server, metric):
    return sum(value for name, value in server.metrics().items() if name.startswith(metric))


def is_at_rest(server):
    instances = web.get(f"{server.url}/health").json()["instances"]
    return all(one.get("state") == "ready" and one["active_requests"] == one["queued_tokens"] == one["active_blocks"] == 0 and one["index"] == "proven"
               for one in instances) and total(server, "dynamo_engine_used_blocks") == 0 and total(server, "dynamo_handoff_receiving") == 0


@pytest.mark.parametrize("size", [1, 15, 16, 17, 1000, CONTEXT - 1])
def test_answers_are_those_of_one_worker(reference, split, size):
    longest = min(12, CONTEXT - size)
    ways = [{"temperature": 0.8, "seed": 7, "logprobs": 3}, {}, {"temperature": 0.9, "seed": 3, "n": 2}, {"max_tokens": 1}]
    for extra in ways[:1] if size >= 1000 else ways:
        body = {"prompt": prompt_of(size, split.seed + 1000 * len(json.dumps(extra))), "max_tokens": longest} | extra
        assert said(ask(split, body)) == said(ask(reference, body)), extra
    body = {"prompt": prompt_of(size, split.seed + 99), "max_tokens": longest}
    assert stream(split, body) == stream(reference, body)


def test_stop_strings_end_an_answer_alike(reference, split):
    body = {"prompt": "The capital of France is Paris. The capital of Italy is", "max_tokens": 40, "ignore_eos": False}
    whole = ask(reference, body)["choices"][0]["text"]
    stop = whole[5:9]
    assert said(ask(split, body | {"stop": [stop]})) == said(ask(reference, body | {"stop": [stop]}))


def test_64_at_once_are_answered_alike(reference, split):
    bodies = [{"prompt": prompt_of(1 + 3 * i, split.seed)} for i in range(64)]
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        ours = list(pool.map(lambda body: said(ask(split, body)), bodies))
        theirs = list(pool.map(lambda body: said(ask(reference, body)), bodies))
    assert ours == theirs
    wait_until(lambda: is_at_rest(split))


def test_a_second_turn_finds_the_first_at_both_workers_and_metrics_count(split):
    before = {name: total(split, f"dynamo_handoff_{name}") for name in ("total", "sent_blocks_total", "received_blocks_total", "sent_bytes_total")}
    first = prompt_of(200, seed=5)
    one = web.post(f"{split.url}/v1/completions", json={"model": MODEL, "prompt": first, "max_tokens": 20, "ignore_eos": True})
    wait_until(lambda: is_at_rest(split))
    two = web.post(f"{split.url}/v1/completions", json={"model": MODEL, "prompt": first + prompt_of(50, seed=6), "max_tokens": 2})
    assert one.headers["x-dynamo-worker"] == two.headers["x-dynamo-worker"]
    assert two.headers["x-dynamo-worker"].startswith("decode-worker-")
    assert two.json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 192
    wait_until(lambda: is_at_rest(split))  # P counts when its writes have ended
    after = {name: total(split, f"dynamo_handoff_{name}") for name in before}
    blocks = 13 + 4  # 200 tokens; of 250 tokens what is behind the first 192
    assert after["total"] - before["total"] == 2
    assert after["sent_blocks_total"] - before["sent_blocks_total"] == after["received_blocks_total"] - before["received_blocks_total"] == blocks
    assert after["sent_bytes_total"] - before["sent_bytes_total"] == blocks * BLOCK_BYTES
    decisions = web.get(f"{split.url}/router/explain?last=2").json()
    decisions = decisions if isinstance(decisions, list) else decisions["decisions"]
    assert [one["pool"] for one in decisions] == ["decode", "prefill"]
    assert decisions[0]["prefill"] == decisions[1]["chosen"]


def test_under_preemption_answers_stay_the_same(reference, start_server, backend):
    """Any one of the answers outgrows the room that the prompts leave. (Only answers preempt: for prompts at P see engine/handoff_test.cc.)"""
    blocks = 24 * 2**20 // BLOCK_BYTES
    tight = start_server("--context-length", str(CONTEXT), "--prefill-workers", "1", "--decode-workers", "1", "--kv-cache-mib", "24", env=backend)
    bodies = [{"prompt": prompt_of(200, seed=20 + i), "max_tokens": 100} for i in range(5)]
    assert len(bodies) * math.ceil(200 / 16) + 100 // 16 > blocks
    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        ours = list(pool.map(lambda body: said(ask(tight, body))[0], bodies))
        theirs = list(pool.map(lambda body: said(ask(reference, body))[0], bodies))
    assert ours == theirs
    assert total(tight, "dynamo_engine_preemptions_total") > 0
    wait_until(lambda: is_at_rest(tight))


def ready(server):
    return [one for one in web.get(f"{server.url}/health").json()["instances"] if one["state"] == "ready"]


def workers(server, mode):
    found = []
    for pid in server.children().get("worker", []):
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            if mode.encode() in command.read().split(b"\0"):
                found.append(pid)
    return found


@pytest.mark.parametrize("mode", ["prefill", "decode"])
def test_a_killed_worker_costs_clients_time_and_nothing_else(reference, start_server, mode):
    server = start_server("--context-length", str(CONTEXT), "--prefill-workers", "2", "--decode-workers", "2", "--router-mode", "kv")
    bodies = [{"prompt": prompt_of(40 + 30 * i, seed=3), "max_tokens": 60} for i in range(8)]
    expected = [stream(reference, body)[:2] for body in bodies]
    over = threading.Event()

    def kill_now_and_then():
        draw = random.Random(4)
        for _ in range(3):
            if over.wait(1 + draw.random()):
                return
            running = workers(server, mode)
            if len(running) == 2 and len(ready(server)) == 4:
                os.kill(draw.choice(running), signal.SIGKILL)

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for _ in range(2):
                assert [answer[:2] for answer in pool.map(lambda body: stream(server, body), bodies)] == expected
    finally:
        over.set()
        killer.join()
    wait_until(lambda: is_at_rest(server))


def test_a_prefill_worker_that_was_stopped_and_goes_on_spoils_nothing(reference, start_server, backend):
    """What it was writing when it was stopped was given up meanwhile, and its blocks serve other prompts."""
    server = start_server("--context-length", str(CONTEXT), "--prefill-workers", "1", "--decode-workers", "1", "--kv-cache-mib", "24", env=backend)
    for seed in (12, 13):
        bodies = [{"prompt": prompt_of(60 + 50 * i, seed=seed), "max_tokens": 12} for i in range(6)]
        expected = [said(ask(reference, body))[0] for body in bodies]
        (prefill,) = workers(server, "prefill")
        with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
            answers = [pool.submit(lambda body=body: said(ask(server, body))[0]) for body in bodies]
            time.sleep(0.5)
            os.kill(prefill, signal.SIGSTOP)
            time.sleep(8)  # its silence is noticed after 5
            os.kill(prefill, signal.SIGCONT)
            assert [answer.result() for answer in answers] == expected
    wait_until(lambda: is_at_rest(server))


def test_without_prefill_workers_decode_workers_compute_prompts(reference, start_server):
    server = start_server("--context-length", str(CONTEXT), "--decode-workers", "1")
    body = {"prompt": prompt_of(100, seed=8)}
    assert said(ask(server, body)) == said(ask(reference, body))


def test_short_prompts_stay_where_they_are_decoded_when_told(start_server):
    server = start_server("--context-length", str(CONTEXT), "--prefill-workers", "1", "--decode-workers", "1", "--max-local-prefill-length", "50")
    for size, moved in ((40, 0), (60, 4)):
        before = total(server, "dynamo_handoff_received_blocks_total")
        ask(server, {"prompt": prompt_of(size, seed=9)})
        assert total(server, "dynamo_handoff_received_blocks_total") - before == moved


def why_it_was_computed_locally(reference, cluster, prefill_flags, decode_flags):
    """Starts a prefill and a decode worker that do not go together, asks one prompt, and returns what the decode worker says of it."""
    _, hub = cluster("hub", "hub", "--port", 0)
    address = hub(r"hub ready address=(\S+)")
    common = ["--served-model-name", MODEL, "--hub", address, "--context-length", CONTEXT]
    _, front = cluster("frontend", "frontend", "--http-host", "127.0.0.1", "--http-port", 0, "--hub", address)
    _, prefill = cluster("prefill", "worker", *common, "--disaggregation-mode", "prefill", *prefill_flags)
    _, decode = cluster("decode", "decode-worker", *common, "--disaggregation-mode", "decode", *decode_flags)
    url = front(r"serving url=(\S+)")
    prefill("worker ready")
    decode("worker ready")
    wait_until(lambda: [one["state"] for one in web.get(f"{url}/health").json()["instances"]] == ["ready"] * 2)
    body = {"model": MODEL, "prompt": prompt_of(100, seed=10), "max_tokens": 12, "temperature": 0, "ignore_eos": True}
    reply = web.post(f"{url}/v1/completions", json=body)
    assert reply.status_code == 200 and said(reply.json())[0] == said(ask(reference, body))[0]
    return decode("a hand-off failed; the rest of the prompt is computed here .*")


def test_workers_without_a_backend_in_common_are_named_and_the_prompt_is_computed_where_it_is_answered(reference, cluster):
    flags = ["--model-path", MODEL_FILE, "--disaggregation-transfer-backend"]
    why = why_it_was_computed_locally(reference, cluster, [*flags, "shm"], [*flags, "tcp"])
    assert "how=refused" in why and "shm here, tcp there" in why


def test_a_prefill_worker_with_other_weights_is_refused_with_both_digests_before_a_block_moves(reference, cluster, tmp_path):
    tuned = tmp_path / MODEL_FILE.name
    weights = bytearray(MODEL_FILE.read_bytes())
    for at in range(len(weights) - (1 << 20), len(weights), 7):
        weights[at] ^= 1
    tuned.write_bytes(weights)
    why = why_it_was_computed_locally(reference, cluster, ["--model-path", tuned], ["--model-path", MODEL_FILE])
    assert "how=refused" in why
    here, there = re.search(r"model: (\w+) here, (\w+) there", why).groups()
    assert here != there
