#!/usr/bin/env python3
"""How soon a frontend that starts knows what its workers hold.

    bench/cold_start.py [--workers 8] [--blocks 287500]

Fills the caches of simulated workers through one frontend, ends it, starts another, and takes the time from then until it has
answered a request, and until it knows the blocks of every worker.
"""
import argparse
import concurrent.futures
import json
import subprocess
import time
import urllib.request

from processes import DYNAMO, Processes

PROMPT_BLOCKS = 512


def health(url):
    try:
        return json.load(urllib.request.urlopen(f"{url}/health", timeout=5))
    except OSError:
        return {"instances": []}


def ask_until_answered(url, until):
    body = json.dumps({"model": "mock", "prompt": [1, 2, 3], "max_tokens": 1}).encode()
    while time.monotonic() < until:
        try:
            request = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
            return urllib.request.urlopen(request, timeout=30).status and time.monotonic()
        except OSError:
            time.sleep(0.005)
    raise SystemExit("no request was answered")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=287_500, help="that each worker holds")
    options = parser.parse_args()
    processes = Processes()
    try:
        hub = processes.start_hub()
        processes.start_mocker(hub, "--num-workers", options.workers, "--num-blocks", options.blocks + 8 * PROMPT_BLOCKS,
                               "--speedup-ratio", 1e6, "--context-length", 8208, "--max-batch-tokens", 8192)
        url = processes.start_frontend(hub, "--router-mode", "round-robin")
        time.sleep(2)
        prompts = options.workers * options.blocks // PROMPT_BLOCKS
        subprocess.run([DYNAMO, "--log", "off", "bench", "--url", url, "--conversations", str(prompts), "--input-tokens", str(PROMPT_BLOCKS * 16),
                        "--output-tokens", "1", "--tokens", "40000", "--concurrency", "32"], check=True, stdout=subprocess.DEVNULL)
        processes.stop_last()
        started = time.monotonic()
        url = processes.start_listening(hub, "--router-mode", "kv")
        listening = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answered = pool.submit(ask_until_answered, url, started + 60)
            while True:
                instances = health(url)["instances"]
                states = [one.get("index") for one in instances]
                if len(states) == options.workers and all(state in ("proven", "catching up") for state in states):
                    break
                if time.monotonic() > started + 60:
                    raise SystemExit(f"the index was not complete after 60 s: {instances}")
                time.sleep(0.005)
            complete = time.monotonic()
            first = answered.result()
        blocks = sum(one.get("cached_blocks", 0) for one in instances)
        print(f"{options.workers} workers, {blocks:,} blocks: listening after {listening - started:.2f} s, first answer after {first - started:.2f} s, "
              f"all blocks known after {complete - started:.2f} s")
    finally:
        processes.stop()


if __name__ == "__main__":
    main()
