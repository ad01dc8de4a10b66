#!/bin/bash
# Runs the tests that need a GPU: tests/gpu/run.sh [KERNELS_TESTS]
# KERNELS_TESTS: a kernels_tests built with the preset "cuda"; by default the one in build/cuda, built here. One line a
# test, then a pass line. With compute-sanitizer in $PATH, its memcheck runs over them too.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests=${1:-build/cuda/kernels_tests}
if [ $# -lt 1 ]; then
  cmake --preset cuda
  cmake --build build/cuda --target kernels_tests
fi
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
"$tests" --gtest_filter='Cuda/*:BackendFactory*' | grep -E '^\[ +(OK|FAILED|SKIPPED) +\]|^\[  (PASSED|FAILED)'
if command -v compute-sanitizer >/dev/null; then
  compute-sanitizer --tool memcheck --error-exitcode 1 "$tests" --gtest_filter='Cuda/*-*Attention*' |
    grep -E 'ERROR SUMMARY|^\[  (PASSED|FAILED)'
fi
echo "gpu tests: passed"
