#!/usr/bin/env python3
"""Many requests at once behind one long prefix that one of four simulated workers has: how they spread, and when the last is answered.

    bench/shared_prefix.py [--rounds 3]

Prints a Markdown table, medians over the rounds, kv and round-robin in turn. Runs hub, mocker and frontend of build/release on loopback and
ends them.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import statistics
import time
import urllib.request

from processes import Processes

MODEL = pathlib.Path(os.environ.get("DYNAMO_CACHE", pathlib.Path.home() / ".cache/dynamo")) / "SmolLM2-135M-Instruct.Q4_1.gguf"
WORKERS = 4
# (sequences a worker runs at once, requests, tokens of the prefix)
CASES = [(64, 64, 1600), (8, 64, 1600), (64, 200, 1600), (8, 32, 400)]


def run(mode, places, requests, prefix_tokens):
    """Returns: requests of each worker, most first; seconds until the last answer."""
    processes = Processes()
    try:
        hub = processes.start_hub()
        processes.start_mocker(hub, "--model-path", MODEL, "--num-workers", WORKERS, "--speedup-ratio", 1, "--max-sequences", places)
        url = processes.start_frontend(hub, "--router-mode", mode)
        time.sleep(0.7)
        draw = random.Random(3)
        tokens = lambda count: [draw.randrange(1000, 40000) for _ in range(count)]

        def ask(prompt, max_tokens=60):
            body = json.dumps({"model": "mock", "prompt": prompt, "max_tokens": max_tokens}).encode()
            request = urllib.request.Request(f"{url}/v1/completions", body, {"content-type": "application/json"})
            with urllib.request.urlopen(request) as reply:
                reply.read()
                return reply.headers["x-dynamo-worker"]

        prefix = tokens(prefix_tokens)
        ask(prefix, 2)
        prompts = [prefix + tokens(16) for _ in range(requests)]
        with concurrent.futures.ThreadPoolExecutor(requests) as pool:
            begin = time.monotonic()
            counts = collections.Counter(pool.map(ask, prompts))
            seconds = time.monotonic() - begin
        return sorted(counts.values(), reverse=True), seconds
    finally:
        processes.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| sequences a worker | requests | prefix | kv: last answer s | requests of each worker | round-robin: last answer s |")
    print("|---|---|---|---|---|---|")
    for places, requests, prefix in CASES:
        seconds = {"kv": [], "round-robin": []}
        for _ in range(options.rounds):
            for mode, taken in seconds.items():
                counts, last = run(mode, places, requests, prefix)
                taken.append(last)
                if mode == "kv":
                    spread = counts
        middle = {mode: statistics.median(taken) for mode, taken in seconds.items()}
        print(f"| {places} | {requests} | {prefix} | {middle['kv']:.2f} | {', '.join(map(str, spread))} | {middle['round-robin']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
