"""Compares our logits for SmolLM2 with the truth: the same GGUF's weights, dequantised, in transformers on torch in fp32.

    python tests/truth/smollm2_truth.py [--gguf FILE] [--levels scalar,avx2,avx512] [--llama-cpp] [--golden]

Runs over every position of text.txt as one sequence, and prints one line per implementation (docs/accuracy.md explains
the columns). Ours are the programs logits_tool of the release preset (`ninja -C build/release logits_tool`);
--llama-cpp adds llama.cpp, --golden rewrites src/model/testdata/smollm2_golden.json.
Needs: torch, transformers, gguf, numpy; llama-cpp-python for --llama-cpp.
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("DYNAMO_CACHE", pathlib.Path.home() / ".cache/dynamo"))
GOLDEN_TOKENS = 256  # the golden's text: the start of ours
GOLDEN_POSITIONS = sorted({*range(0, 64, 2), *range(65, GOLDEN_TOKENS, 6)})
GOLDEN_TOP = 16


def load(path):
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    check_weights(model, path)
    return model, AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def check_weights(model, path):
    """transformers' own dequantisation and the gguf package's must agree bit for bit."""
    state = model.state_dict()
    parts = {"attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
             "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
             "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj"}
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    for tensor in GGUFReader(path).tensors:
        name = tensor.name.removesuffix(".weight")
        values = torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type)))
        if name.startswith("blk."):
            _, layer, part = name.split(".")
            if part in heads:  # stored for interleaved rotation
                rows, columns = values.shape
                values = values.reshape(heads[part], rows // heads[part] // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
            ours = state[f"model.layers.{layer}.{parts[part]}.weight"]
        else:
            ours = state[{"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}[name]]
        assert torch.equal(values, ours), f"transformers and gguf read {tensor.name} differently"


def truth_logits(model, tokens):
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0].numpy()


def our_logits(gguf, tokens, level, kv_dtype):
    with tempfile.TemporaryDirectory() as folder:
        ids, out = pathlib.Path(folder, "tokens"), pathlib.Path(folder, "logits")
        ids.write_text(" ".join(map(str, tokens)))
        subprocess.run([ROOT / "build/release/logits_tool", gguf, ids, out, level, kv_dtype], check=True)
        return np.fromfile(out, dtype=np.float32).reshape(len(tokens), -1)


def llama_cpp_logits(gguf, tokens):
    from llama_cpp import Llama

    llama = Llama(str(gguf), n_ctx=len(tokens), n_batch=512, logits_all=True, n_threads=2, n_threads_batch=2, verbose=False)
    llama.eval(tokens)
    return llama.scores[: len(tokens)].copy()


def compare(truth, other):
    """The figures of docs/accuracy.md, in blocks of rows so as to need little memory."""
    error = power = divergence = 0.0
    agree = 0
    for first in range(0, len(truth), 128):
        a = truth[first : first + 128].astype(np.float64)
        b = other[first : first + 128].astype(np.float64)
        a -= a.mean(axis=1, keepdims=True)
        b -= b.mean(axis=1, keepdims=True)
        error += ((a - b) ** 2).sum()
        power += (a**2).sum()
        agree += (a.argmax(axis=1) == b.argmax(axis=1)).sum()
        log_p = a - np.log(np.exp(a).sum(axis=1, keepdims=True))
        log_q = b - np.log(np.exp(b).sum(axis=1, keepdims=True))
        divergence += (np.exp(log_p) * (log_p - log_q)).sum()
    return {"relative RMS": (error / power) ** 0.5, "top-1": agree / len(truth), "mean KL": divergence / len(truth)}


def golden(model, tokenizer, tokens, truth):
    """The truth at some positions, small enough to be committed: the likeliest tokens and what ties them together."""
    positions = []
    for row in GOLDEN_POSITIONS:
        logits = truth[row].astype(np.float64)
        logits -= logits.mean()
        top = np.argsort(-logits)[:GOLDEN_TOP]
        positions.append({"position": row, "log_sum_exp": round(float(np.log(np.exp(logits).sum())), 5),
                          "rms": round(float((logits**2).mean() ** 0.5), 5), "tokens": top.tolist(),
                          "logits": [round(float(logits[i]), 5) for i in top]})
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
    with torch.inference_mode():
        answer = model.generate(torch.tensor([prompt]), max_new_tokens=32, do_sample=False)[0][len(prompt) :].tolist()
    return {"tokens": tokens[:GOLDEN_TOKENS], "positions": positions,
            "greedy": {"prompt": prompt, "answer": answer, "text": tokenizer.decode(answer, skip_special_tokens=True)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=pathlib.Path, default=CACHE / "SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--levels", default="scalar,avx2,avx512")
    parser.add_argument("--kv-dtypes", default="f16")
    parser.add_argument("--llama-cpp", action="store_true")
    parser.add_argument("--golden", action="store_true")
    flags = parser.parse_args()

    model, tokenizer = load(flags.gguf)
    text = pathlib.Path(__file__).with_name("text.txt").read_text()
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    truth = truth_logits(model, tokens)
    if flags.golden:
        found = golden(model, tokenizer, tokens, truth)
        print("greedy answer of the truth:", found["greedy"]["text"])
        lines = ",\n".join(json.dumps(p, separators=(",", ":")) for p in found["positions"])
        rest = ",\n".join(f'"{key}":{json.dumps(found[key], separators=(",", ":"))}' for key in ("tokens", "greedy"))
        (ROOT / "src/model/testdata/smollm2_golden.json").write_text(f'{{{rest},\n"positions":[\n{lines}\n]}}\n')

    print(f"{len(tokens)} positions")
    rows = [(f"dynamo {level}, cache {kv}", lambda level=level, kv=kv: our_logits(flags.gguf, tokens, level, kv))
            for level in filter(None, flags.levels.split(",")) for kv in flags.kv_dtypes.split(",")]
    if flags.llama_cpp:
        rows.append(("llama.cpp", lambda: llama_cpp_logits(flags.gguf, tokens)))
    for name, logits in rows:
        found = compare(truth, logits())
        print(f"{name:28} " + "  ".join(f"{key} {value:.7f}" for key, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
