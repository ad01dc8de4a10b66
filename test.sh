#!/usr/bin/env bash
# Builds everything and runs every test; fails on any test, format or warning.
#
#   ./test.sh                what a change must pass
#   ./test.sh --sanitizers   also the unit tests under ASan+UBSan and under TSan (about twice the time)
#   FUZZ_SECONDS=60 ./test.sh   gives each fuzz target that long (default 5)
#
# Stages that leave a core idle run beside others. Each prints a line when it begins and when it ends; what it says is
# in build/test/STAGE.log, and shown if it fails.
set -euo pipefail
cd "$(dirname "$0")"

sanitizers=()
for argument in "$@"; do
  case "$argument" in
    --sanitizers) sanitizers=(asan tsan) ;;
    *)
      echo "unknown flag $argument; --sanitizers is the only one" >&2
      exit 2
      ;;
  esac
done
. scripts/stages.sh

step "dependencies"
scripts/install_dependencies.sh --tests

begin model scripts/fetch_model.sh
begin python scripts/test_python.sh
begin format bash -c "git ls-files '*.h' '*.cc' | xargs clang-format-19 --dry-run -Werror"
begin build bash -c "cmake --preset release -DDYNAMO_TESTS=ON && ninja -C build/release"
finish

# The end-to-end tests mostly wait: for processes that start, and for time that simulated devices take. What computes
# runs beside them, and lets them go first.
# Tests of the walk-through find processes by their names, as users do, so no two of them run at once; nor do two of one
# file, which share a server.
by_name=(tests/cluster tests/test_compat.py)
pytest=(build/venv/bin/python -m pytest -q --durations=30)
begin walk-through "${pytest[@]}" "${by_name[@]}"
begin end-to-end "${pytest[@]}" -n 2 --dist loadfile --no-loadscope-reorder "${by_name[@]/#/--ignore=}" tests
begin unit nice -n 10 ctest --preset release --parallel "$(nproc)"
finish unit
begin fuzz nice -n 19 scripts/fuzz.sh "${FUZZ_SECONDS:-5}"
finish fuzz
for preset in "${sanitizers[@]}"; do
  begin "$preset" nice -n 5 scripts/sanitized_unit_tests.sh "$preset"
  finish "$preset"
done
finish
step "all passed"
