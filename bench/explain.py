#!/usr/bin/env python3
"""What readers of /router/explain cost those who ask: latency of short completions, alone and beside four readers, 64 mock workers.

    bench/explain.py [--seconds 10]

Runs hub, mocker and frontend of build/release on loopback and ends them.
"""
import argparse
import json
import os
import pathlib
import statistics
import threading
import time
import urllib.request

from processes import Processes

MODEL = pathlib.Path(os.environ.get("DYNAMO_CACHE", pathlib.Path.home() / ".cache/dynamo")) / "SmolLM2-135M-Instruct.Q4_1.gguf"
WORKERS, READERS = 64, 4


def ask(url, number):
    body = json.dumps({"model": "mock", "prompt": [1000 + (number * 7919 + i) % 30000 for i in range(512)], "max_tokens": 1}).encode()
    begin = time.monotonic()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/completions", body, {"content-type": "application/json"})) as reply:
        reply.read()
    return time.monotonic() - begin


def measure(url, seconds, first):
    """Returns: latencies in ms of one completion after the other."""
    until = time.monotonic() + seconds
    taken = []
    while time.monotonic() < until:
        taken.append(1000 * ask(url, first + len(taken)))
    return sorted(taken)


def read(url, until, reads):
    while time.monotonic() < until:
        with urllib.request.urlopen(f"{url}/router/explain?last=1000") as reply:
            reply.read()
        reads.append(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    seconds = parser.parse_args().seconds
    processes = Processes()
    try:
        hub = processes.start_hub()
        processes.start_mocker(hub, "--model-path", MODEL, "--num-workers", WORKERS, "--speedup-ratio", 1000)
        url = processes.start_frontend(hub, "--router-mode", "kv")
        time.sleep(2)
        measure(url, 3, 0)  # so that there are a thousand decisions to read
        for readers in (0, READERS):
            reads = []
            threads = [threading.Thread(target=read, args=(url, time.monotonic() + seconds, reads)) for _ in range(readers)]
            [thread.start() for thread in threads]
            taken = measure(url, seconds, 100_000 * (readers + 1))
            [thread.join() for thread in threads]
            print(f"{readers} readers: {len(taken)} completions, median {statistics.median(taken):.1f} ms, p99 {taken[int(0.99 * len(taken))]:.1f} ms; "
                  f"{len(reads)} reads")
    finally:
        processes.stop()


if __name__ == "__main__":
    main()
