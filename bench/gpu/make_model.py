#!/usr/bin/env python3
"""Writes a Hugging Face folder of random bf16 weights in a model's shape, without a tokenizer: for timing alone.

    bench/gpu/make_model.py qwen3-0.6b|qwen3-8b FOLDER

Needs torch and transformers.
"""

import sys

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

SHAPES = {
    "qwen3-0.6b": dict(hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
                       num_key_value_heads=8, head_dim=128, tie_word_embeddings=True),
    "qwen3-8b": dict(hidden_size=4096, intermediate_size=12288, num_hidden_layers=36, num_attention_heads=32,
                     num_key_value_heads=8, head_dim=128, tie_word_embeddings=False),
}


def main():
    shape, folder = sys.argv[1:3]
    config = Qwen3Config(vocab_size=151936, max_position_embeddings=40960, rope_theta=1e6, rms_norm_eps=1e-6,
                         bos_token_id=151643, eos_token_id=151645, **SHAPES[shape])
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen3ForCausalLM(config)
    model.save_pretrained(folder)
    print(f"{shape}: {sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters in {folder}")


if __name__ == "__main__":
    main()
