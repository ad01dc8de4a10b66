#!/usr/bin/env python3
"""What a streamed request costs the frontend, Dynamo 1.6.1's beside ours, in one run and with one tokenizer.

    python -m venv PEER && PEER/bin/pip install ai-dynamo-runtime==1.6.1 aiohttp msgspec prometheus-client pyzmq redis transformers zstandard \\
        uvloop pyyaml aisimulate==0.13.0.dev202610270000000085 && PEER/bin/pip install --no-deps ai-dynamo==1.6.1
    python bench/peers/frontend_cpu.py --python PEER/bin/python --tokenizer FOLDER [--connections 4,64] [--seconds 8] [--rounds 3]

FOLDER holds tokenizer.json and tokenizer_config.json of a Qwen3 model. Each system has two mock workers of its own at a speed that leaves
the frontend the bottleneck, in mode kv with KV events, on loopback; Dynamo with its discovery in files, so that neither needs a server.
Load, prompts and figures are those of bench/frontend_cpu.py; the systems take turns.
"""
import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import frontend_cpu  # noqa: E402
from processes import Processes  # noqa: E402

CONFIG = {  # of Qwen3-0.6B: both systems want one beside the tokenizer
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6, "rope_theta": 1000000, "hidden_act": "silu", "tie_word_embeddings": True, "attention_bias": False,
    "bos_token_id": 151643, "eos_token_id": 151645, "torch_dtype": "bfloat16"}


def write_model(folder, tokenizer):
    model = pathlib.Path(folder) / "model"
    model.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pathlib.Path(tokenizer) / name, model / name)
        (model / name).chmod(0o644)
    (model / "config.json").write_text(json.dumps(CONFIG))
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": 151645}))
    return model


def start_dynamo(processes, python, model, folder, port):
    """Starts two mock workers and a frontend of Dynamo. Returns: the frontend's address and pid."""
    environment = os.environ | {"DYN_TCP_RPC_HOST": "127.0.0.1", "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": f"{folder}/discovery", "HF_HUB_OFFLINE": "1",
                                "DYN_REQUEST_PLANE": "tcp", "DYN_EVENT_PLANE": "zmq", "DYN_LOG": "warn"}
    processes.start_other("()", [python, "-m", "dynamo.mocker", "--model-path", model, "--model-name", "mock", "--num-workers", 2, "--block-size", 16,
                                 "--speedup-ratio", 10000], environment)
    url = f"http://127.0.0.1:{port}"
    processes.start_other("()", [python, "-m", "dynamo.frontend", "--http-host", "127.0.0.1", "--http-port", port, "--router-mode", "kv",
                                 "--kv-cache-block-size", 16], environment)
    until = time.monotonic() + 120
    while True:
        try:
            if json.load(urllib.request.urlopen(f"{url}/v1/models", timeout=5))["data"]:
                break
        except OSError:
            pass
        if time.monotonic() > until:
            raise SystemExit("Dynamo serves no model after 120 s:\n" + processes.last_log())
        time.sleep(0.5)
    time.sleep(1)
    return url, processes.last_pid()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="of the environment that has Dynamo 1.6.1")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--connections", default="4,64")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=18437, help="for Dynamo's frontend")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        load = frontend_cpu.write_load(folder)
        model = write_model(folder, options.tokenizer)
        for round_ in range(options.rounds):
            for system in ("dynamo 1.6.1", "ours"):
                processes = Processes()
                try:
                    if system == "ours":
                        url, frontend = frontend_cpu.start(processes, model, http_threads=1)
                    else:
                        url, frontend = start_dynamo(processes, options.python, model, f"{folder}/{round_}", options.port)
                    print(f"{system}, round {round_ + 1}")
                    frontend_cpu.warm_up(url)
                    for connections in map(int, options.connections.split(",")):
                        frontend_cpu.measure(url, frontend, load, connections, options.seconds)
                    print(f"     resident memory {frontend_cpu.resident_mib(frontend):.0f} MiB", flush=True)
                finally:
                    processes.stop()


if __name__ == "__main__":
    main()
