"""Processes that die, and what clients notice of it: nothing but time."""
import os
import re
import signal
import threading

import httpx
import pytest
from conftest import MODEL, PATIENCE, wait_until, web

STORY = {"model": MODEL, "prompt": "Once upon a time, in a small village,", "max_tokens": 120, "temperature": 0, "ignore_eos": True, "stream": True}


def stream_text(url, body, on_piece=lambda text: None):
    """The whole streamed text, and the events' count of [DONE]."""
    text, done = "", 0
    with web.stream("POST", f"{url}/v1/completions", json=body) as reply:
        assert reply.status_code == 200, reply.read()
        for line in reply.iter_lines():
            if line == "data: [DONE]":
                done += 1
            elif line.startswith("data: "):
                event = httpx.Response(200, content=line[6:]).json()
                assert "error" not in event, event
                text += event["choices"][0]["text"] if event["choices"] else ""
                on_piece(text)
    return text, done


def states(server):
    return {one["worker"]: one["state"] for one in web.get(f"{server.url}/health").json()["instances"]}


@pytest.fixture
def pair(start_server):
    return start_server("--workers", "2", "--router-mode", "kv", env={"DYN_LOG": "info,router=debug"})


def worker_pids(server):
    """Name -> pid, found by the port that each announces."""
    ports = {m.group(1): m.group(2) for m in re.finditer(r"worker ready worker=(\S+) .*system_port=(\d+)", server.log())}
    found = {}
    for pid in server.children()["worker"]:
        sockets = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if os.path.islink(f"/proc/{pid}/fd/{fd}")}
        inodes = {name[8:-1] for name in sockets if name.startswith("socket:[")}
        for line in open("/proc/net/tcp").read().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and fields[3] == "0A":
                port = str(int(fields[1].split(":")[1], 16))
                found.update({name: pid for name, its in ports.items() if its == port})
    return found


def test_a_killed_workers_streams_go_on_elsewhere_with_the_same_text(pair):
    undisturbed, _ = stream_text(pair.url, STORY)
    busy = [name for name, pid in worker_pids(pair).items()]
    assert len(busy) == 2
    killed = []

    def kill_once(text):
        if len(text) > 40 and not killed:
            # The worker that has the prompt: the one that the router chose for it before.
            name = re.findall(r"Selected (worker-\d)", pair.log())[-1]
            killed.append(name)
            os.kill(worker_pids(pair)[name], signal.SIGKILL)

    text, done = stream_text(pair.url, STORY, kill_once)
    assert killed and done == 1
    assert text == undisturbed
    assert re.search(rf"Worker {killed[0]} unhealthy, rerouting -> worker-", pair.log())
    # The supervisor starts it again.
    wait_until(lambda: list(states(pair).values()).count("ready") == 2)
    assert "a process ended and is started again" in pair.log()


def test_many_streams_survive_the_death_of_a_worker(pair):
    bodies = [{**STORY, "prompt": f"Tell me about the number {i}.", "max_tokens": 60} for i in range(8)]
    expected = [stream_text(pair.url, body)[0] for body in bodies]
    texts = [None] * len(bodies)

    def ask(i):
        texts[i] = stream_text(pair.url, bodies[i])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(bodies))]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum(v for k, v in pair.metrics().items() if k.startswith("dynamo_engine_running_sequences")) >= 4)
    os.kill(next(iter(worker_pids(pair).values())), signal.SIGKILL)
    for thread in threads:
        thread.join(PATIENCE)
    assert [text for text, _ in texts] == expected
    assert [done for _, done in texts] == [1] * len(bodies)


def test_a_restarted_frontend_has_a_warm_index_at_once(pair):
    for _ in range(2):
        stream_text(pair.url, {**STORY, "max_tokens": 8})
    held = {one["instance"]: one["cached_blocks"] for one in web.get(f"{pair.url}/health").json()["instances"]}
    assert sum(held.values()) > 0
    frontend = pair.children()["frontend"][0]
    port = pair.url.rsplit(":", 1)[1]
    os.kill(frontend, signal.SIGKILL)
    wait_until(lambda: pair.children().get("frontend", [frontend]) != [frontend])
    wait_until(lambda: len(re.findall(r"\[INFO\] serving .*url=(\S+)", pair.log())) == 2)
    pair.url = re.findall(r"\[INFO\] serving .*url=(\S+)", pair.log())[-1]
    assert port
    wait_until(lambda: pair._is_ready(pair.url))
    assert {one["instance"]: one["cached_blocks"] for one in web.get(f"{pair.url}/health").json()["instances"]} == held


def test_serving_goes_on_without_the_hub_and_heals_when_it_is_back(pair):
    hub = pair.children()["hub"][0]
    os.kill(hub, signal.SIGKILL)
    for _ in range(3):
        assert stream_text(pair.url, {**STORY, "max_tokens": 8})[1] == 1
    wait_until(lambda: pair.children().get("hub", [hub]) != [hub])
    wait_until(lambda: [one["index"] for one in web.get(f"{pair.url}/health").json()["instances"]] == ["proven"] * 2)
    assert stream_text(pair.url, {**STORY, "max_tokens": 8})[1] == 1


def test_a_worker_that_hangs_is_noticed_and_passed_over(pair):
    names = worker_pids(pair)
    os.kill(names["worker-1"], signal.SIGSTOP)
    try:
        for _ in range(4):
            assert stream_text(pair.url, {**STORY, "max_tokens": 8})[1] == 1
        wait_until(lambda: states(pair).get("worker-1", "gone") in ("connecting", "gone"))
    finally:
        os.kill(names["worker-1"], signal.SIGCONT)
    wait_until(lambda: list(states(pair).values()).count("ready") == 2)


def test_a_model_without_workers_is_404(start_server):
    server = start_server()
    os.kill(server.children()["worker"][0], signal.SIGKILL)

    def status():
        return web.post(f"{server.url}/v1/completions", json={**STORY, "max_tokens": 1, "stream": False}).status_code

    seen = set()
    wait_until(lambda: seen.add(status()) or 200 in seen and len(seen) > 1)
    assert seen <= {200, 404, 503}, seen
