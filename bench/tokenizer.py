#!/usr/bin/env python3
"""How fast encode() is, ours and the `tokenizers` package's, on the same text, one thread: MB/s, best of 5.

  ninja -C build/release tokenizer_tool
  bench/tokenizer.py [--megabytes 2] [--prompt 16384]
Needs the packages tokenizers and gguf; tests/test_tokenizer_live.py says where the tokenizers come from.

The text is encoded in prompts of --prompt bytes. It is made from what every machine with Python has, the same each time: `code` is Python's library, `english` the prose
of its docstrings, `scripts` sentences of many languages in random order. Both sides must give the same tokens.
"""
import argparse
import ast
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import tokenizers  # noqa: E402
import tokenizer_strings  # noqa: E402

TOOL = ROOT / "build/release/tokenizer_tool"
RUNS = 5


def docstrings(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            yield ast.get_docstring(node) or ""


def texts(size):
    sources = [p.read_text(errors="replace") for p in tokenizer_strings.source_files()]
    english = "\n\n".join(d for s in sources for d in docstrings(s) if len(d) > 80)
    r = random.Random(1)
    scripts = " ".join(r.choice(tokenizer_strings.WORDS) for _ in range(size // 6))

    def fill(text):
        data = text.encode()
        return (data * (size // len(data) + 1))[:size].decode(errors="ignore")

    yield "code", fill("".join(sources))
    yield "english", fill(english)
    yield "scripts", fill(scripts)


def hash_of(ids):
    value = 0
    for i in ids:
        value = (value * 1_000_003 + i) & 0xFFFFFFFFFFFFFFFF
    return value


def rate_of_package(tokenizer, prompts, size):
    best = 0
    for _ in range(RUNS):
        start = time.perf_counter()
        encodings = [tokenizer.encode(p, add_special_tokens=False) for p in prompts]
        best = max(best, size / 1e6 / (time.perf_counter() - start))
    return best, [i for e in encodings for i in e.ids]


def cut(text, size):
    data = text.encode()
    return [data[at : at + size].decode(errors="ignore") for at in range(0, len(data), size)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=2)
    parser.add_argument("--prompt", type=int, default=16384)
    flags = parser.parse_args()
    size = int(flags.megabytes * 1e6)
    qwen3 = pathlib.Path(os.environ.get("DYNAMO_QWEN3_TOKENIZER", ROOT.parent / "shared/data/qwen3-tokenizer")) / "tokenizer.json"
    cache = pathlib.Path(os.environ.get("DYNAMO_CACHE", pathlib.Path.home() / ".cache/dynamo"))
    with tempfile.TemporaryDirectory() as folder:
        smollm2 = pathlib.Path(folder) / "smollm2.json"
        smollm2.write_text(tokenizer_strings.smollm2_json(cache / "SmolLM2-135M-Instruct.Q4_1.gguf"))
        print(f"tokenizers {tokenizers.__version__}, {size / 1e6:g} MB in prompts of {flags.prompt} bytes, MB/s\n{'':18}{'package':>9}{'ours':>9}{'ratio':>8}")
        for name, path in [("SmolLM2", smollm2), ("Qwen3", qwen3)]:
            if not path.exists():
                print(f"{name}: skipped, {path} is not there")
                continue
            package = tokenizers.Tokenizer.from_file(str(path))
            for kind, text in texts(size):
                prompts = cut(text, flags.prompt)
                encoded = [p.encode() for p in prompts]
                theirs, ids = rate_of_package(package, prompts, sum(map(len, encoded)))
                data = b"".join(struct.pack("<I", len(e)) + e for e in encoded)
                out = subprocess.run([TOOL, "rate", path], input=data, stdout=subprocess.PIPE, check=True).stdout
                count, hashed, ours = out.split()
                assert (int(count), int(hashed)) == (len(ids), hash_of(ids)), f"{name}, {kind}: the tokens differ"
                print(f"{name:8} {kind:9}{theirs:9.2f}{float(ours):9.2f}{float(ours) / theirs:7.1f}x", flush=True)


if __name__ == "__main__":
    main()
