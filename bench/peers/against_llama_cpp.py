"""Prefill and decode speed of llama.cpp and of our decoder, side by side on the default model: tokens per second.

    ninja -C build/release model_bench && python bench/peers/against_llama_cpp.py [--rounds 3] [--level avx2] [--threads 2]

Both run one sequence on all cores: a prompt of 512 tokens in one step, then 128 tokens one by one after 0 and after 512
tokens. They take turns, `--rounds` times; the table shows the best of each and the spread. Needs: llama-cpp-python.
"""
import argparse
import ctypes
import json
import os
import pathlib
import subprocess
import time

import llama_cpp

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("DYNAMO_CACHE", pathlib.Path.home() / ".cache/dynamo"))
PROMPT, ANSWER = 512, 128
LEVELS = {"scalar": 0, "avx2": 1, "avx512": 2}


class LlamaCpp:
    def __init__(self, path, threads):
        llama_cpp.llama_log_set(_silence, ctypes.c_void_p(0))
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = 1024, PROMPT, PROMPT
        params.n_threads = params.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)

    def step(self, tokens):
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        assert llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(array, len(tokens))) == 0
        llama_cpp.llama_get_logits_ith(self.context, -1)  # waits for the step

    def clear(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def measure(self):
        tokens = [1000 + i * 37 % 40000 for i in range(PROMPT + ANSWER)]
        self.clear()
        start = time.perf_counter()
        self.step(tokens[:PROMPT])
        figures = {"prefill 512": PROMPT / (time.perf_counter() - start)}
        for context in (512, 0):
            if context == 0:
                self.clear()
            start = time.perf_counter()
            for token in tokens[context : context + ANSWER]:
                self.step([token])
            figures[f"decode after {context}"] = ANSWER / (time.perf_counter() - start)
        return figures


@llama_cpp.llama_log_callback
def _silence(level, text, data):
    pass


def measure_ours(level):
    command = [ROOT / "build/release/model_bench", "--benchmark_format=json", f"--benchmark_filter=SmolLm2.*/{LEVELS[level]}/"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["benchmarks"]
    figures = {}
    for bench in found:
        name, _, context = bench["name"].removesuffix("/real_time").partition("/")
        key = "prefill 512" if name.endswith("Prefill") else f"decode after {context.split('/')[1]}"
        figures[key] = bench["items_per_second"]
    return figures, found[0]["label"]


def best_level():
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    return "avx512" if "avx512_bf16" in flags and "avx512_vnni" in flags else "avx2"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--level", choices=LEVELS, default=best_level())
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    flags = parser.parse_args()

    peer = LlamaCpp(CACHE / "SmolLM2-135M-Instruct.Q4_1.gguf", flags.threads)
    theirs, ours, label = [], [], ""
    for _ in range(flags.rounds):
        theirs.append(peer.measure())
        figures, label = measure_ours(flags.level)
        ours.append(figures)
    print(f"dynamo: {label}; llama-cpp-python {llama_cpp.__version__}, {flags.threads} threads; best of {flags.rounds} (worst)")
    print(f"{'tokens/s':16} {'dynamo':>16} {'llama.cpp':>16} {'ratio':>6}")
    for key in ("prefill 512", "decode after 0", "decode after 512"):
        a, b = [figures[key] for figures in ours], [figures[key] for figures in theirs]
        print(f"{key:16} {max(a):8.1f} ({min(a):5.1f}) {max(b):8.1f} ({min(b):5.1f}) {max(a) / max(b):6.2f}")


if __name__ == "__main__":
    main()
