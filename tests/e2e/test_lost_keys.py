"""A store that loses keys takes no worker away that frontends are connected to."""
import concurrent.futures
import json
import time

import pytest
from conftest import PATIENCE, Etcd, wait_until, web

GONE = "a worker's key is gone; it stays while it is connected"
WORKERS = "/dynamo/workers/"


@pytest.fixture
def mocks(cluster, etcd_and_nats):
    """(url, frontend's wait_for, {worker's name: process}): two mock workers behind etcd and NATS."""
    workers = {}
    for i in (1, 2):
        process, mocker = cluster(f"mocker-{i}", "mocker", *etcd_and_nats.flags, "--served-model-name", "mock", "--system-port", -1)
        mocker("worker ready")
        workers[f"worker-{i}"] = process
    _, frontend = cluster("frontend", "frontend", *etcd_and_nats.flags, "--http-host", "127.0.0.1", "--http-port", 0)
    url = frontend(r"serving url=(\S+)")
    wait_until(lambda: states(url) == {name: "ready" for name in workers})
    return url, frontend, workers


def states(url):
    return {one["worker"]: one["state"] for one in web.get(f"{url}/health").json().get("instances", [])}


def ask(url):
    return web.post(f"{url}/v1/completions", json={"model": "mock", "prompt": "Once upon a time", "max_tokens": 4, "ignore_eos": True})


def read_stream(url, tokens):
    """Returns: the answer's tokens, as its last chunk says."""
    with web.stream("POST", f"{url}/v1/completions",
                      json={"model": "mock", "prompt": "Tell me more", "max_tokens": tokens, "ignore_eos": True, "stream": True,
                            "stream_options": {"include_usage": True}}) as reply:
        chunks = [json.loads(line[6:]) for line in reply.iter_lines() if line.startswith("data: {")]
    assert not any("error" in one for one in chunks)
    return chunks[-1]["usage"]["completion_tokens"]


def revoke_all_leases(etcd):
    leases = etcd.ctl("lease", "list").split()
    for lease in leases[leases.index("leases") + 1:]:
        etcd.ctl("lease", "revoke", lease)


@pytest.mark.parametrize("lose", [revoke_all_leases, Etcd.lose_everything], ids=["leases revoked", "all lost"])
def test_requests_go_on_while_keys_are_gone_and_workers_announce_themselves_again(mocks, etcd_and_nats, lose):
    url, frontend, workers = mocks
    before = etcd_and_nats.ctl("get", "--prefix", "/dynamo/")
    assert before.count(WORKERS) == 2
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        streams = [pool.submit(read_stream, url, 600) for _ in range(4)]
        time.sleep(0.3)
        loss = pool.submit(lose, etcd_and_nats)
        until = time.monotonic() + PATIENCE
        while not loss.done() or etcd_and_nats.ctl("get", "--prefix", "/dynamo/") != before:
            reply = ask(url)
            assert reply.status_code == 200, reply.text
            assert time.monotonic() < until
        loss.result()
        assert [one.result() for one in streams] == [600] * 4
    if lose is revoke_all_leases:  # else the frontend may come back to etcd after the workers
        for name in workers:
            frontend(f"{GONE} worker={name}")
            frontend(f"a worker's key is back worker={name}")
    assert states(url) == {name: "ready" for name in workers}


def test_a_worker_without_a_key_is_left_when_it_dies(mocks, etcd_and_nats):
    url, frontend, workers = mocks
    etcd_and_nats.ctl("del", "--prefix", WORKERS)
    for name in workers:
        frontend(f"{GONE} worker={name}")
    whys = [one["why"] for one in web.get(f"{url}/health").json()["instances"]]
    assert whys == ["its key is gone; it stays while it is connected"] * 2
    dead, alive = workers
    workers[dead].kill()
    wait_until(lambda: states(url) == {alive: "ready"})
    assert ask(url).status_code == 200
    workers[alive].kill()
    wait_until(lambda: states(url) == {})
    assert ask(url).status_code == 404


def test_a_worker_that_comes_back_in_another_role_is_there_once(mocks, etcd_and_nats, tmp_path):
    url, frontend, _ = mocks
    key, value = next(pair for pair in zip(*[iter(etcd_and_nats.ctl("get", "--prefix", WORKERS).splitlines())] * 2) if '"worker-1"' in pair[1])
    etcd_and_nats.ctl("del", key)
    frontend(f"{GONE} worker=worker-1")
    etcd_and_nats.ctl("put", key.replace("/aggregated/", "/decode/"), json.dumps(json.loads(value) | {"role": "decode", "name": "decode-worker-1"}))
    wait_until(lambda: states(url) == {"decode-worker-1": "ready", "worker-2": "ready"})
    assert ask(url).status_code == 200
    assert "gets no requests" not in (tmp_path / "frontend.log").read_text()


def test_a_worker_that_leaves_in_order_is_left_at_once(mocks, etcd_and_nats, tmp_path):
    url, frontend, workers = mocks
    leaving, stays = workers
    workers[leaving].terminate()
    frontend(f"worker gone worker={leaving}")
    assert states(url) == {stays: "ready"}
    assert workers[leaving].wait(PATIENCE) == 0
    wait_until(lambda: etcd_and_nats.ctl("get", "--prefix", WORKERS).count(WORKERS) == 1)
    assert GONE not in (tmp_path / "frontend.log").read_text()
