#!/usr/bin/env bash
# Builds the unit tests under a preset of sanitizers and runs them.   sanitized_unit_tests.sh asan|tsan
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset "$1" >/dev/null
ninja -C "build/$1"
ctest --preset "$1" --parallel "$(nproc)"
