"""Many requests at once behind one long prefix that only one simulated worker has: every worker takes its part."""
import collections
import concurrent.futures
import random

import pytest
from conftest import MODEL_FILE, wait_until, web

WORKERS, REQUESTS = 4, 64


@pytest.mark.parametrize("flags", [[], ["--busy-threshold", "0.5"], ["--kv-overlap-score-weight", "1"]], ids=["defaults", "threshold", "weight 1"])
@pytest.mark.parametrize("places", [8, 64])
def test_a_worker_with_the_prefix_that_all_want_does_not_get_all(cluster, places, flags):
    hub = cluster("hub", "hub", "--port", "0")[1](r"hub ready address=(\S+)")
    cluster("mocker", "mocker", "--hub", hub, "--model-path", MODEL_FILE, "--served-model-name", "mock", "--num-workers", WORKERS, "--speedup-ratio", "0.2",
            "--max-sequences", places, "--host", "127.0.0.1", "--system-port", "-1")[1]("(worker ready)")
    url = cluster("frontend", "frontend", "--hub", hub, "--http-host", "127.0.0.1", "--http-port", "0", "--router-mode", "kv", *flags)[1](r"serving url=(\S+)")
    instances = lambda: web.get(f"{url}/health").json()["instances"]
    wait_until(lambda: [one["state"] for one in instances()] == ["ready"] * WORKERS)
    draw = random.Random(3)
    tokens = lambda count: [draw.randrange(1000, 40000) for _ in range(count)]
    prefix = tokens(1600)
    prompts = [prefix + tokens(16) for _ in range(REQUESTS)]

    def ask(prompt):
        reply = web.post(f"{url}/v1/completions", json={"model": "mock", "prompt": prompt, "max_tokens": 60})
        assert reply.status_code == 200, reply.text
        return reply.headers["x-dynamo-worker"]

    warm = ask(prefix)
    with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
        counts = collections.Counter(pool.map(ask, prompts))
    assert len(counts) == WORKERS, counts
    assert counts[warm] <= REQUESTS // 2, counts
    decisions = web.get(f"{url}/router/explain?last={REQUESTS}").json()["decisions"]
    candidates = [one for decision in decisions for one in decision["candidates"]]
    assert max(one["sequences"] for one in candidates) >= places / 8
    assert (max(one["rounds"] for one in candidates) > 0) == (places == 8)
