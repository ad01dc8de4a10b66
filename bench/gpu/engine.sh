#!/bin/bash
# Times the engine on GPU 0 with random weights: bench/gpu/engine.sh [SHAPE] [TOOL]
# SHAPE: qwen3-0.6b (default) or qwen3-8b. TOOL: an engine_rate_tool built with the preset "cuda"; by default the one in
# build/cuda, built here. Needs Python with torch and transformers; cuBLASLt is taken from its packages.
set -euo pipefail
cd "$(dirname "$0")/../.."
shape=${1:-qwen3-0.6b}
tool=${2:-build/cuda/engine_rate_tool}
if [ $# -lt 2 ]; then
  cmake --preset cuda
  cmake --build build/cuda --target engine_rate_tool
fi
model=$(mktemp -d)
trap 'rm -rf "$model"' EXIT
python3 bench/gpu/make_model.py "$shape" "$model"
blas=$(python3 -c 'import nvidia.cu13, os; print(os.path.join(list(nvidia.cu13.__path__)[0], "lib"))')
nvidia-smi --query-gpu=name,driver_version,clocks.sm --format=csv,noheader
"$tool" "$model" cuda:0 "$blas"
