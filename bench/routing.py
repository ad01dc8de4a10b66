#!/usr/bin/env python3
"""KV-aware routing against round-robin: multi-turn conversations with shared system prompts on simulated workers whose caches together
hold about half of the distinct blocks. The conversations that begin together at the start are not counted.

    bench/routing.py [--workers 4 8] [--modes kv round-robin] [--speedup 1]

Prints a Markdown table. Runs hub, mocker and frontend of build/release on loopback and ends them.
"""
import argparse
import json
import subprocess
import time

from processes import DYNAMO, Processes

BLOCK, SYSTEM_PROMPTS, PREFIX, INPUT, OUTPUT, TURNS = 16, 8, 1024, 256, 64, 5


def run(workers, mode, weight, conversations, concurrency, speedup):
    distinct = conversations * TURNS * (INPUT + OUTPUT) // BLOCK + SYSTEM_PROMPTS * PREFIX // BLOCK
    processes = Processes()
    try:
        hub = processes.start_hub()
        processes.start_mocker(hub, "--num-workers", workers, "--num-blocks", distinct // 2 // workers, "--speedup-ratio", speedup)
        url = processes.start_frontend(hub, "--router-mode", mode, "--kv-overlap-score-weight", weight)
        time.sleep(2)
        done = subprocess.run([DYNAMO, "--log", "off", "bench", "--url", url, "--json", "--conversations", str(conversations), "--turns", str(TURNS),
                               "--shared-prefixes", str(SYSTEM_PROMPTS), "--prefix-tokens", str(PREFIX), "--input-tokens", str(INPUT),
                               "--output-tokens", str(OUTPUT), "--spread", "0.3", "--concurrency", str(concurrency), "--warmup", str(concurrency)],
                              check=True, capture_output=True, text=True)
        return json.loads(done.stdout)
    finally:
        processes.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--modes", nargs="+", default=["kv", "round-robin"])
    parser.add_argument("--conversations-per-worker", type=int, default=60)
    parser.add_argument("--speedup", type=float, default=1)
    parser.add_argument("--overlap-weight", type=float, default=4)
    parser.add_argument("--loads", nargs="+", default=["light", "heavy"])
    options = parser.parse_args()
    print("| workers | conversations at once | mode | TTFT mean ms | p99 | ITL mean ms | cached % | endless cache % | requests/s | client busy % |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for workers in options.workers:
        for load in options.loads:
            each = {"light": 2, "heavy": 12}[load]
            for mode in options.modes:
                r = run(workers, mode, options.overlap_weight, options.conversations_per_worker * workers, each * workers, options.speedup)
                assert r["failed"] == 0, r["errors"]
                print(f"| {workers} | {each * workers} ({load}) | {mode} | {r['ttft_ms']['mean']:.1f} | {r['ttft_ms']['p99']:.1f} | "
                      f"{r['itl_ms']['mean']:.2f} | {100 * r['cached_share']:.1f} | {100 * r['ideal_cached_share']:.1f} | "
                      f"{r['requests_per_s']:.1f} | {100 * r['client']['busy']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
