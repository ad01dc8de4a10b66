"""Prefill and decode workers, frontends, etcd and NATS killed at random moments under load: clients lose nothing.

CHAOS_KILLS=200 CHAOS_SEED=5 python -m pytest -s tests/e2e/test_chaos.py    more of it than the few kills of every day, and others
"""
import concurrent.futures
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time

import httpx
import pytest
from conftest import DYNAMO, MODEL, MODEL_FILE, PATIENCE, free_port, wait_until, web

KILLS = int(os.environ.get("CHAOS_KILLS", "10"))
SEED = int(os.environ.get("CHAOS_SEED", "11"))
CLIENTS = 6
PROMPTS = 24


class Part:
    """A process that is started again whenever it was killed."""

    def __init__(self, name, command, folder, env):
        self.name, self.command, self.env = name, [*map(str, command)], env
        self.log_path = folder / f"{name}.log"
        self.is_back_at = float("-inf")  # what was asked of it before may have been cut off
        self.start()

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env, cwd=self.log_path.parent)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def kill(self):
        assert self.process.poll() is None, f"{self.name} ended by itself: {self.log()[-3000:]}"
        self.is_back_at = float("inf")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def metrics(self):
        port = re.findall(r"worker ready .*system_port=(\d+)", self.log())[-1]
        lines = web.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))}


class Cluster:
    """etcd, NATS, two frontends, two prefill and two decode workers."""

    def __init__(self, folder, kind):
        for program in ("etcd", "nats-server"):
            if not shutil.which(program):
                pytest.skip(f"{program} is not installed")
        self.folder = folder
        etcd, peer, nats = free_port(), free_port(), free_port()
        url = f"http://127.0.0.1:{etcd}"
        env = {name: value for name, value in os.environ.items() if name != "DYN_HUB"}
        env |= {"ETCD_ENDPOINTS": url, "NATS_SERVER": f"nats://127.0.0.1:{nats}", "DYN_THREADS": "1", "DYN_KV_CACHE_MIB": "64"}
        self.parts = {}
        add = lambda name, *command: self.parts.update({name: Part(name, command, folder, env)})
        add("etcd", "etcd", "--data-dir", folder / "etcd", "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", f"http://127.0.0.1:{peer}")
        add("nats", "nats-server", "--addr", "127.0.0.1", "--port", nats)
        self.urls = {}
        for i in (1, 2):
            port = free_port()
            self.urls[f"frontend-{i}"] = f"http://127.0.0.1:{port}"
            add(f"frontend-{i}", DYNAMO, "frontend", "--http-host", "127.0.0.1", "--http-port", port, "--router-mode", "kv", "--migration-limit", 10)
        model = ["--model-path", MODEL_FILE, "--served-model-name", MODEL, "--announce-host", "127.0.0.1", "--system-port", 0]
        program = ["mocker", "--speedup-ratio", 0.7, "--num-blocks", 400] if kind == "mock" else ["worker"]
        for mode in ("prefill", "decode"):
            for i in (1, 2):
                add(f"{mode}-{i}", DYNAMO, *program, *model, "--disaggregation-mode", mode)
        self.wait_until_ready()

    def wait_until(self, is_so, what):
        wait_until(is_so, lambda: f"{self.states()}; logs in {self.folder}; {what}")

    def wait_until_ready(self):
        self.wait_until(self.is_ready, "a ready cluster")
        for part in self.parts.values():
            part.is_back_at = min(part.is_back_at, time.monotonic())

    def health(self, url):
        try:
            return web.get(f"{url}/health").json()["instances"]
        except httpx.TransportError:
            return []

    def states(self):
        return {name: [(one["worker"], one["state"]) for one in self.health(url)] for name, url in self.urls.items()}

    def is_ready(self):
        return all([one["state"] for one in self.health(url)] == ["ready"] * 4 for url in self.urls.values())

    def is_at_rest(self):
        for url in self.urls.values():
            instances = self.health(url)
            if len(instances) != 4 or any(one.get("index") != "proven" for one in instances):
                return False
            if any(one["active_requests"] or one["queued_tokens"] or one["active_blocks"] for one in instances):
                return False
        samples = [part.metrics() for name, part in self.parts.items() if name.startswith(("prefill", "decode"))]
        held = ("dynamo_engine_used_blocks", "dynamo_engine_running", "dynamo_engine_waiting", "dynamo_handoff_receiving")
        return not any(value for one in samples for name, value in one.items() if name.startswith(held))

    def remove(self):
        for part in reversed(self.parts.values()):
            part.process.kill()
            part.process.wait(PATIENCE)


@pytest.fixture(params=["mock", "real"])
def cluster(request, tmp_path):
    running = Cluster(tmp_path, request.param)
    yield running
    running.remove()


def body_of(number):
    draw = random.Random(number)
    shared = [draw.randrange(1000, 20000) for _ in range(64)] if number % 3 else [7] * 64
    prompt = shared + [draw.randrange(1000, 20000) for _ in range(20 + 13 * number)]
    return {"model": MODEL, "prompt": prompt, "max_tokens": 40, "temperature": 0, "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}


def complete(url, body):
    """The text of a stream, and how many tokens usage counts. Raises httpx.TransportError if it breaks."""
    text, usage, is_done = "", None, False
    with web.stream("POST", f"{url}/v1/completions", json=body) as reply:
        if reply.status_code == 503 and "this frontend is still finding its workers" in reply.read().decode():
            raise httpx.ConnectError("just started")
        assert reply.status_code == 200, reply.read()
        for line in reply.iter_lines():
            if line == "data: [DONE]":
                is_done = True
            elif line.startswith("data: "):
                event = json.loads(line[6:])
                assert "error" not in event, event
                text += event["choices"][0]["text"] if event["choices"] else ""
                usage = event.get("usage") or usage
    assert is_done, "the stream ended without [DONE]"
    return text, usage["completion_tokens"]


def test_nothing_is_lost_whoever_dies_and_when(cluster):
    expected = [complete(next(iter(cluster.urls.values())), body_of(number)) for number in range(PROMPTS)]
    assert len(set(expected)) == PROMPTS
    over = threading.Event()
    answered, retried = [], []

    def ask_on(client):
        draw = random.Random(client)
        while not over.is_set():
            number = draw.randrange(PROMPTS)
            names = list(cluster.urls)
            draw.shuffle(names)
            for name in itertools.cycle(names):
                since = time.monotonic()
                try:
                    answer = complete(cluster.urls[name], body_of(number))
                    break
                except httpx.TransportError as error:
                    assert since < cluster.parts[name].is_back_at, f"{name} lives, and broke a stream: {error!r}"
                    retried.append(client)
            assert answer == expected[number], f"prompt {number}"
            answered.append(client)

    def kill_one(draw):
        name = draw.choice(["prefill-1", "prefill-2", "decode-1", "decode-2"] * 2 + ["etcd", "nats", draw.choice(["frontend-1", "frontend-2"])])
        time.sleep(draw.random())
        if name not in ("etcd", "nats"):
            cluster.wait_until_ready()  # two of each kind: one may go
        part = cluster.parts[name]
        part.kill()
        time.sleep(draw.random() * 3 if name in ("etcd", "nats") else 0)
        part.start()
        return name

    draw = random.Random(SEED)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(ask_on, client) for client in range(CLIENTS)]
        try:
            killed = []
            while len(killed) < KILLS and not any(client.done() for client in clients):
                killed.append(kill_one(draw))
        finally:
            over.set()
        for client in clients:
            client.result(PATIENCE)
    cluster.wait_until(cluster.is_at_rest, "rest")
    print(f"{len(answered)} answers, {len(retried)} of them through the other frontend; killed: {({name: killed.count(name) for name in sorted(set(killed))})}")


def test_a_killed_frontend_breaks_its_streams_at_once_and_workers_stop_them(tmp_path):
    cluster = Cluster(tmp_path, "mock")
    try:
        body = body_of(1) | {"max_tokens": 5000}  # minutes
        one, other = cluster.urls
        begun, broken = threading.Event(), []

        def read():
            try:
                with web.stream("POST", f"{cluster.urls[one]}/v1/completions", json=body) as reply:
                    for _ in reply.iter_lines():
                        begun.set()
            except httpx.TransportError:
                broken.append(time.monotonic())

        reader = threading.Thread(target=read)
        reader.start()
        assert begun.wait(PATIENCE)
        cluster.parts[one].kill()
        reader.join(PATIENCE)
        assert len(broken) == 1
        assert complete(cluster.urls[other], body_of(1))[1] == 40
        cluster.urls.pop(one)
        cluster.wait_until(cluster.is_at_rest, "the end of the orphaned stream")
    finally:
        cluster.remove()
