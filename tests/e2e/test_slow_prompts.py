"""Prompts that take longer than --first-token-timeout at simulated workers: who gets on with them is not given up."""
import concurrent.futures
import json

import pytest
from conftest import MODEL_FILE, wait_until, web

LIMIT = 4  # seconds


class Place:
    def __init__(self, start):
        self.start = start
        self.hub = start("hub", "hub", "--port", "0")[1](r"hub ready address=(\S+)")

    def workers(self, name, *flags):
        self.start(name, "mocker", "--hub", self.hub, "--model-path", MODEL_FILE, "--served-model-name", "mock", "--host", "127.0.0.1",
                   "--system-port", "-1", *flags)[1]("(worker ready)")

    def frontend(self, workers):
        _, self.says = self.start("frontend", "frontend", "--hub", self.hub, "--http-host", "127.0.0.1", "--http-port", "0", "--router-mode", "kv",
                                  "--first-token-timeout", LIMIT)
        self.url = self.says(r"serving url=(\S+)")
        states = lambda: [one["state"] for one in web.get(f"{self.url}/health").json()["instances"]]
        wait_until(lambda: states() == ["ready"] * workers)

    def metrics(self):
        lines = web.get(f"{self.url}/metrics").text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")}

    def given_up(self):
        return sum(value for name, value in self.metrics().items() if name.startswith(("dynamo_router_refusals_total", "dynamo_router_migrations_total")))

    def complete(self, **body):
        return web.post(f"{self.url}/v1/completions", json={"model": "mock", "max_tokens": 2} | body)


@pytest.fixture
def place(cluster):
    return Place(cluster)


@pytest.mark.parametrize("chunk", [512, 4096], ids=["a step of 1.5 s", "one step of 9 s"])
def test_a_prompt_is_answered_by_the_worker_that_computes_it(place, chunk):
    place.workers("mocker", "--num-workers", "2", "--speedup-ratio", "0.02", "--max-batch-tokens", chunk)
    place.frontend(workers=2)
    with web.stream("POST", f"{place.url}/v1/completions", json={"model": "mock", "prompt": [7] * 3500, "max_tokens": 2, "stream": True}) as reply:
        assert reply.status_code == 200
        lines = [line for line in reply.iter_lines() if line]
    assert reply.elapsed.total_seconds() > LIMIT
    assert lines[-1] == "data: [DONE]"
    choices = [json.loads(line.removeprefix("data: "))["choices"][0] for line in lines[:-1]]
    assert all(one["text"] or one["finish_reason"] for one in choices), choices
    assert place.given_up() == 0


def test_requests_in_line_at_a_worker_wait_for_their_turn(place):
    place.workers("mocker", "--speedup-ratio", "1", "--max-sequences", "1")
    place.frontend(workers=1)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda i: place.complete(prompt=[i + 50] * 40, max_tokens=300), range(8)))
    assert [reply.status_code for reply in replies] == [200] * 8
    assert max(reply.elapsed.total_seconds() for reply in replies) > 2 * LIMIT
    assert place.given_up() == 0


def test_a_decode_worker_passes_on_that_a_prefill_worker_gets_on(place):
    place.workers("prefill", "--speedup-ratio", "0.02", "--disaggregation-mode", "prefill", "--max-batch-tokens", "4096")
    place.workers("decode", "--speedup-ratio", "1", "--disaggregation-mode", "decode")
    place.frontend(workers=2)
    reply = place.complete(prompt=[7] * 3500)
    assert reply.status_code == 200, reply.text
    assert reply.elapsed.total_seconds() > LIMIT
    assert place.given_up() == 0
    decode, prefill = web.get(f"{place.url}/router/explain?last=2").json()["decisions"]
    assert decode["prefill"] == prefill["chosen"] == "prefill-worker-1"
