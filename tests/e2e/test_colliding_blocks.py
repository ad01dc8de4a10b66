"""Clients that make blocks whose hashes collide: nothing falls over, and nobody's answer changes.

Token ids with a wanted hash are found in seconds by a generalised birthday search (Wagner 2002) over XXH3-64 with the seed of
docs/reference/block_hash.md, whose 64 bytes of a block are mixed in four parts of four tokens each. Those below are of that search.
"""
import contextlib
import json

import pytest
from conftest import MODEL, web

# A prompt that begins with LOOP_START has the same block hash for that block and for every LOOP that follows.
LOOP_START = [20363, 37926, 24562, 39423, 19027, 20978, 21724, 28837, 39382, 9764, 16353, 36017, 22701, 31145, 3284, 14122]
LOOP = [11242, 23579, 38705, 7148, 8531, 8321, 10040, 36914, 30183, 14184, 32991, 23437, 11740, 1813, 12269, 11969]

VICTIM = [504, 3575, 282, 4649, 314] * 9  # "The capital of France is", again and again: two blocks and 13 tokens
KNOWN = VICTIM[:16]
OTHER = [6675, 38592, 25087, 35384, 7848, 23089, 26468, 26331, 6159, 37556, 4398, 22217, 3416, 18261, 34546, 31653]  # the hash of KNOWN


def body_of(prompt, **more):
    return {"model": MODEL, "prompt": prompt, "max_tokens": 8, "temperature": 0, "ignore_eos": True, "logprobs": 2} | more


def ask(server, prompt, **more):
    """The answer, and how many of the prompt's tokens were in the cache."""
    reply = web.post(f"{server.url}/v1/completions", json=body_of(prompt, **more))
    assert reply.status_code == 200, reply.text
    reply = reply.json()
    return reply["choices"], reply["usage"]["prompt_tokens_details"]["cached_tokens"]


@contextlib.contextmanager
def in_flight(server, prompt, max_tokens):
    """A stream that has begun; inside, what goes on with it; then it is read to its end."""
    body = body_of(prompt, max_tokens=max_tokens, stream=True)
    with web.stream("POST", f"{server.url}/v1/completions", json=body) as reply:
        assert reply.status_code == 200
        lines = (line for line in reply.iter_lines() if line)
        assert json.loads(next(lines).removeprefix("data: "))["choices"]
        yield
        assert list(lines)[-1] == "data: [DONE]"


@pytest.mark.parametrize("mode", ["kv", "round-robin"])
def test_a_prompt_whose_blocks_all_have_one_hash_leaves_the_frontend_alive(start_server, mode):
    server = start_server("--router-mode", mode)
    frontend = server.children()["frontend"]
    expected, _ = ask(server, VICTIM)
    for size in (1, 2, 3):
        with in_flight(server, LOOP_START + LOOP * 3, 100), in_flight(server, LOOP_START + LOOP * size + KNOWN, 60):
            for others in ([], LOOP, LOOP * 5, KNOWN, KNOWN + LOOP):
                ask(server, LOOP_START + others + [1])
            assert ask(server, VICTIM)[0] == expected
    assert server.children()["frontend"] == frontend
    for name in server.metrics():
        if name.startswith(("dynamo_router_active_requests", "dynamo_router_active_blocks")):
            server.wait_for(name, 0)


def test_a_block_computed_after_other_tokens_is_not_in_anybodys_answer(start_server):
    server = start_server("--router-mode", "kv")
    clean, cached = ask(server, VICTIM, cache_salt="apart")
    assert cached == 0
    ask(server, KNOWN + [1])  # everybody's first block
    _, cached = ask(server, OTHER + VICTIM[16:])
    assert cached == 0
    attacked, cached = ask(server, VICTIM)
    assert (attacked, cached) == (clean, 16)
    assert ask(server, VICTIM) == (clean, 32)
