#!/usr/bin/env python3
"""What disaggregation costs and gives, on simulated workers (real scheduling, cache, requests and hand-offs over shared memory).

    bench/disaggregation.py [--only overhead|mixed]

overhead: TTFT of one request at a time with a prompt of 1,000 tokens, one aggregated worker against one prefill and one decode worker; the
difference is what the hand-off adds, for the simulated step takes the same time and the blocks are small.
mixed: long prompts with short answers beside short prompts with long answers; four aggregated workers against two prefill and two decode workers.
"""
import argparse
import json
import subprocess
import time

from processes import DYNAMO, Processes

AGGREGATED = ["aggregated"] * 4
SPLIT = ["prefill", "prefill", "decode", "decode"]


def start(processes, modes, *flags):
    hub = processes.start_hub()
    for mode in modes:
        processes.start_mocker(hub, "--num-blocks", 32768, "--max-sequences", 256, "--disaggregation-mode", mode, *flags)
    url = processes.start_frontend(hub, "--router-mode", "kv")
    time.sleep(2)
    return url


def bench(url, *flags):
    return subprocess.Popen([DYNAMO, "--log", "off", "bench", "--url", url, "--json", "--tokens", "40000", *map(str, flags)], stdout=subprocess.PIPE, text=True)


def result(process):
    output, _ = process.communicate(timeout=500)
    parsed = json.loads(output)
    assert parsed["failed"] == 0, parsed["errors"]
    return parsed


def overhead(rounds):
    print("| round | aggregated TTFT ms, median | split TTFT ms, median | added ms |\n|---|---|---|---|")
    for round_ in range(rounds):
        median = {}
        for name, modes in (("aggregated", ["aggregated"]), ("split", ["prefill", "decode"])):
            processes = Processes()
            try:
                url = start(processes, modes, "--max-batch-tokens", 2048)
                load = bench(url, "--conversations", 100, "--concurrency", 1, "--input-tokens", 1000, "--output-tokens", 2, "--seed", round_, "--warmup", 10)
                median[name] = result(load)["ttft_ms"]["p50"]
            finally:
                processes.stop()
        print(f"| {round_ + 1} | {median['aggregated']:.2f} | {median['split']:.2f} | {median['split'] - median['aggregated']:.2f} |", flush=True)


def mixed(seconds, prompts_per_s, streams):
    print("| workers | ITL p50 ms | p99 ms | output tokens/s | streams' TTFT p50 ms | long prompts/s | their TTFT p50 ms | p99 ms |\n|---|---|---|---|---|---|---|---|")
    for name, modes in (("4 aggregated", AGGREGATED), ("2 prefill, 2 decode", SPLIT)):
        processes = Processes()
        try:
            url = start(processes, modes)
            long = bench(url, "--rate", prompts_per_s, "--arrivals", "constant", "--conversations", seconds * prompts_per_s, "--concurrency", 0, "--input-tokens", 4096,
                         "--output-tokens", 2, "--seed", 5)
            short = bench(url, "--conversations", 100000, "--duration", seconds, "--concurrency", streams, "--input-tokens", 64, "--output-tokens", 256, "--seed", 6,
                          "--warmup", streams)
            answers, prompts = result(short), result(long)
            print(f"| {name} | {answers['itl_ms']['p50']:.1f} | {answers['itl_ms']['p99']:.1f} | {answers['output_tokens_per_s']:.0f} | {answers['ttft_ms']['p50']:.0f} | "
                  f"{prompts['requests_per_s']:.1f} | {prompts['ttft_ms']['p50']:.0f} | {prompts['ttft_ms']['p99']:.0f} |", flush=True)
        finally:
            processes.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["overhead", "mixed"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--prompts-per-s", type=int, default=5)
    parser.add_argument("--streams", type=int, default=64)
    options = parser.parse_args()
    if options.only != "mixed":
        overhead(options.rounds)
    if options.only != "overhead":
        mixed(options.seconds, options.prompts_per_s, options.streams)


if __name__ == "__main__":
    main()
