"""--max-local-prefill-length auto: prompts are computed where that is expected to take less time, by what workers measured."""
import concurrent.futures
import itertools
import json

from conftest import wait_until, web

LONG = 6000  # tokens
SHORT = 500
NUMBERS = itertools.count(1000)


def start_workers(cluster, prefill_speed, decode_speed, *plane):
    for mode, speed in (("prefill", prefill_speed), ("decode", decode_speed)):
        cluster(f"{mode}-mocker", "mocker", *plane, "--served-model-name", "mock", "--num-blocks", 4096, "--system-port", -1, "--speedup-ratio", speed,
                "--disaggregation-mode", mode)[1]("worker ready")


def start_frontend(cluster, *flags):
    _, frontend = cluster("frontend", "frontend", *flags, "--http-host", "127.0.0.1", "--http-port", 0, "--router-mode", "kv")
    url = frontend(r"serving url=(\S+)")
    wait_until(lambda: sorted(one["state"] for one in instances(url).values()) == ["ready", "ready"])
    return url, frontend


def start_cluster(cluster, prefill_speed, decode_speed):
    _, hub = cluster("hub", "hub", "--port", 0)
    plane = ["--hub", hub(r"hub ready address=(\S+)")]
    start_workers(cluster, prefill_speed, decode_speed, *plane)
    return start_frontend(cluster, *plane, "--max-local-prefill-length", "auto")[0]


def instances(url):
    return {one["worker"]: one for one in web.get(f"{url}/health").json()["instances"]}


def ask(url, tokens):
    """Has a prompt computed that nobody has in a cache. Returns where, as the router explains."""
    first = next(NUMBERS)
    reply = web.post(f"{url}/v1/completions",
                       json={"model": "mock", "prompt": [first] + [1000 + i % 7000 for i in range(1, tokens)], "max_tokens": 1, "ignore_eos": True})
    assert reply.status_code == 200, reply.text
    explained = web.get(f"{url}/router/explain", params={"request_id": reply.json()["id"].split("-", 1)[1]}).json()["decisions"]
    return next(one["prefill"] for one in explained if one["pool"] == "decode")


def ask_until(url, is_so, tokens=SHORT):
    """Asks again while workers measure themselves, whose heartbeats come once a second."""
    said = []
    wait_until(lambda: said.append(ask(url, tokens)) or is_so(said[-1]))
    return said


def is_measuring(where):
    return where == "here: to measure how fast it computes prompts"


def is_away(where):
    return where == "prefill-worker-1"


def is_here(where):
    return where.startswith("here: expected to take ") and where.endswith(" of the time that prefill-worker-1 needs")


def test_a_long_queue_at_the_prefill_worker_keeps_prompts_where_they_are_decoded(cluster):
    url = start_cluster(cluster, prefill_speed=0.05, decode_speed=0.05)
    assert is_away(ask(url, SHORT))  # nothing is known yet
    ask_until(url, is_measuring)
    ask_until(url, is_away)
    assert is_away(ask(url, SHORT))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for _ in range(2):
            long = pool.submit(ask, url, LONG)
            wait_until(lambda: instances(url)["prefill-worker-1"]["queued_tokens"] >= LONG)
            short = ask(url, SHORT)
            assert is_here(short), short
            assert is_away(long.result())
    assert is_away(ask(url, SHORT))


def test_a_slow_prefill_worker_gets_no_prompts_once_its_rate_and_the_decode_workers_are_known(cluster):
    url = start_cluster(cluster, prefill_speed=0.1, decode_speed=10)
    said = ask_until(url, is_here)
    assert is_away(said[0]) and any(is_measuring(one) for one in said)
    assert is_here(ask(url, SHORT))
    assert is_here(ask(url, LONG))


def test_auto_can_be_set_and_taken_back_while_the_router_runs(cluster, etcd_and_nats):
    start_workers(cluster, 0.1, 10, *etcd_and_nats.flags)
    url, frontend = start_frontend(cluster, *etcd_and_nats.flags)

    def set_length(length):
        etcd_and_nats.ctl("put", "/dynamo/config/mock", json.dumps({"max_local_prefill_length": length}))

    assert is_away(ask(url, SHORT))
    assert is_away(ask(url, SHORT))
    set_length("auto")
    ask_until(url, is_here)
    set_length(SHORT)
    ask_until(url, lambda where: where == f"here: {SHORT} tokens are not cached, at most {SHORT} are computed locally")
    set_length(SHORT - 1)
    ask_until(url, is_away)
    set_length("auto")
    ask_until(url, is_here)
    set_length("much")
    frontend("settings are ignored .*much")
    ask_until(url, is_away)  # what the frontend was started with
