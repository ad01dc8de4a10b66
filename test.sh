#!/usr/bin/env bash
# Builds everything and runs every test; fails on any test, format or warning.
#
#   ./test.sh                what a change must pass
#   ./test.sh --sanitizers   also the unit tests under ASan+UBSan and under TSan (about twice the time)
#   FUZZ_SECONDS=60 ./test.sh   gives each fuzz target that long (default 5)
set -euo pipefail
cd "$(dirname "$0")"

sanitizers=false
for argument in "$@"; do
  case "$argument" in
    --sanitizers) sanitizers=true ;;
    *)
      echo "unknown flag $argument; --sanitizers is the only one" >&2
      exit 2
      ;;
  esac
done

step() { echo "== [$(printf '%4d' $SECONDS) s] $*"; }

step "dependencies"
scripts/install_dependencies.sh --tests
step "the default model"
scripts/fetch_model.sh
step "Python for the end-to-end tests"
scripts/test_python.sh >/dev/null

step "format"
git ls-files '*.h' '*.cc' | xargs clang-format-19 --dry-run -Werror

step "build"
cmake --preset release -DDYNAMO_TESTS=ON >/dev/null
ninja -C build/release

step "unit tests"
ctest --preset release

step "fuzz targets, ${FUZZ_SECONDS:-5} s each"
scripts/fuzz.sh "${FUZZ_SECONDS:-5}"

if $sanitizers; then
  for preset in asan tsan; do
    step "unit tests under $preset"
    cmake --preset "$preset" >/dev/null
    ninja -C "build/$preset"
    ctest --preset "$preset"
  done
fi

step "end-to-end tests"
build/venv/bin/python -m pytest -q tests
step "all passed"
