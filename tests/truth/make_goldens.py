"""Writes what transformers computes for tiny random models: src/model/testdata/tiny_goldens.json and .f32.

    python tests/truth/make_goldens.py

Weights come from the formula in src/model/testing/tiny_model.h, so that the tests can make the same models without any
weight file. Truth is transformers on torch's CPU in fp32. For bf16 models the weights are rounded first, and the index
says how far transformers itself is from that truth when it computes in bf16 ("bf16_error": relative RMS of the
logits). One more model is saved by transformers itself, as a folder: src/model/testdata/saved_by_transformers.
Needs: torch, transformers, numpy.
"""
import json
import pathlib
import shutil

import numpy as np
import torch
import transformers

TESTDATA = pathlib.Path(__file__).resolve().parents[2] / "src/model/testdata"
MASK = (1 << 64) - 1
SHAPE = {"layers": 2, "width": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "ffn_width": 96, "vocab_size": 272,
         "context_length": 512, "tied": False, "rope_base": 10000.0}
ROPE_SCALING = {"factor": 8.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0, "original_context": 64}
LENGTH = 50
POSITIONS = [0, 1, 15, 16, 17, 33, 48, 49]
CASES = {
    "llama": {},
    "llama_group_1": {"width": 96, "heads": 3, "kv_heads": 3, "tied": True},
    "llama_group_3": {"width": 144, "heads": 9, "kv_heads": 3, "layers": 3},
    "llama_group_4": {"heads": 8, "kv_heads": 2, "ffn_width": 160},
    "llama_wide_heads": {"width": 128, "heads": 4, "kv_heads": 2, "head_dim": 64, "ffn_width": 256},
    "llama3_rope": {"rope_scaling": ROPE_SCALING, "rope_base": 500000.0, "head_dim": 32},
    "llama_long": {"layers": 1, "heads": 2, "kv_heads": 1, "head_dim": 32, "context_length": 8192},
    "qwen2": {"architecture": "qwen2"},
    "qwen2_tied": {"architecture": "qwen2", "tied": True, "kv_heads": 1},
    "qwen3": {"architecture": "qwen3", "head_dim": 32},
    "qwen3_tied": {"architecture": "qwen3", "tied": True, "width": 128, "heads": 4, "kv_heads": 2, "head_dim": 128,
                   "rope_base": 1000000.0},
}
LENGTHS = {"llama_long": (3000, [0, 15, 16, 1023, 2047, 2998, 2999])}
BF16_CASES = ["llama", "llama_group_3", "llama_wide_heads", "llama3_rope", "qwen2", "qwen3", "qwen3_tied"]


def tiny_weight(name, shape):
    """The tensor of this Hugging Face name, by the formula in tiny_model.h."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    z = np.uint64(h) + (np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    unit = ((z >> np.uint64(48)).astype(np.int64) - 32768).astype(np.float64) / 32768
    if name.endswith("norm.weight"):
        value = 1 + unit / 4
    elif name.endswith(".bias"):
        value = unit / 4
    else:
        value = unit * 2.0 ** -(int(np.log2(shape[-1])) // 2)
    return torch.from_numpy(value.astype(np.float32).reshape(tuple(shape)))


def tokens_of(name, count, vocab_size):
    """Any fixed ids will do: the sums of the formula's own hash."""
    return (((tiny_weight(f"tokens of {name}", (count,)) + 4) * 65536).to(torch.int64) % vocab_size).tolist()


def config_of(case):
    common = {"hidden_size": case["width"], "intermediate_size": case["ffn_width"], "num_hidden_layers": case["layers"],
              "num_attention_heads": case["heads"], "num_key_value_heads": case["kv_heads"], "head_dim": case["head_dim"],
              "vocab_size": case["vocab_size"], "max_position_embeddings": case["context_length"], "rms_norm_eps": 1e-5,
              "tie_word_embeddings": case["tied"], "attn_implementation": "eager"}
    rope = {"rope_type": "default", "rope_theta": case["rope_base"]}
    if "rope_scaling" in case:
        scaling = case["rope_scaling"]
        rope |= {"rope_type": "llama3", "factor": scaling["factor"], "low_freq_factor": scaling["low_frequency_factor"],
                 "high_freq_factor": scaling["high_frequency_factor"],
                 "original_max_position_embeddings": scaling["original_context"]}
    kind = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config}
    return kind[case["architecture"]](**common, rope_parameters=rope)


def model_of(case, dtype):
    model = transformers.AutoModelForCausalLM.from_config(config_of(case), dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tiny_weight(name, parameter.shape).to(dtype))
    return model


def logits_of(model, tokens, positions):
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0, positions].float().numpy()


class Goldens:
    def __init__(self):
        self.index = []
        self.logits = []

    def add(self, name, case, tokens, positions, logits):
        offset = sum(part.size for part in self.logits)
        self.index.append({"name": name, **case, "tokens": tokens, "positions": positions, "offset": offset})
        self.logits.append(logits)

    def write(self):
        np.concatenate([part.ravel() for part in self.logits]).astype("<f4").tofile(TESTDATA / "tiny_goldens.f32")
        lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in self.index)
        (TESTDATA / "tiny_goldens.json").write_text(f"[\n{lines}\n]\n")


def add_case(goldens, name, dtype):
    case = {"architecture": "llama", **SHAPE, **CASES[name], "dtype": str(dtype).removeprefix("torch.")}
    length, positions = LENGTHS.get(name, (LENGTH, POSITIONS))
    tokens = tokens_of(name, length, case["vocab_size"])
    model = model_of(case, dtype)
    truth = logits_of(model, tokens, positions)
    if dtype == torch.bfloat16:
        rounded = logits_of(model.to(torch.bfloat16), tokens, positions)
        case["bf16_error"] = float(np.sqrt(((rounded - truth) ** 2).sum() / (truth**2).sum()))
    goldens.add(name, case, tokens, positions, truth)


def add_saved(goldens):
    """A folder as transformers writes it today, with the random weights of its own."""
    torch.manual_seed(7)
    case = {"architecture": "llama", **SHAPE, "layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "ffn_width": 48,
            "vocab_size": 96, "rope_scaling": ROPE_SCALING}
    config = config_of(case)
    config.initializer_range = 0.2
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    folder = TESTDATA / "saved_by_transformers"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    tokens = tokens_of("saved", LENGTH, case["vocab_size"])
    goldens.add("saved", {"folder": folder.name}, tokens, POSITIONS, logits_of(model, tokens, POSITIONS))


def main():
    TESTDATA.mkdir(exist_ok=True)
    goldens = Goldens()
    for name in CASES:
        add_case(goldens, name, torch.float32)
    for name in BF16_CASES:
        add_case(goldens, name, torch.bfloat16)
    add_saved(goldens)
    goldens.write()


if __name__ == "__main__":
    main()
