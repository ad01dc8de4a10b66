#!/usr/bin/env bash
# How one works on the code: one step at a time, of one module, instead of all of ./test.sh.
#
#   scripts/dev.sh build [TARGET...]           the release build with tests (build/release)
#   scripts/dev.sh test MODULE [FILTER]        builds and runs a module's unit tests; FILTER as --gtest_filter has it
#   scripts/dev.sh e2e [PYTEST ARGUMENT...]    end-to-end tests: tests/e2e/test_chat.py -k stream
#   scripts/dev.sh format                      formats the C++ files that differ from HEAD
#   scripts/dev.sh tidy [FILE...]              clang-tidy over these files, or those that differ from HEAD
#   scripts/dev.sh prose                       widths, READMEs, and whether what documents name is there
#   scripts/dev.sh coverage [MODULE...]        lines of each module (of all) that its own unit tests reach
#   scripts/dev.sh profile MODULE [FILTER]     perf over a module's benchmark: what takes the time
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  sed -n '4,11s/^#   //p' "$0" >&2
  exit 2
}

configure() { # PRESET
  [ -f "build/$1/build.ninja" ] || cmake --preset "$1" -DDYNAMO_TESTS=ON >/dev/null
}

changed() { # the C++ files that differ from HEAD, new ones too
  { git diff --name-only --diff-filter=d HEAD; git ls-files --others --exclude-standard; } | grep -E '\.(h|cc|inl)$' || true
}

build() {
  configure release
  ninja -C build/release "$@"
}

coverage() {
  configure coverage
  local targets=() module
  for module in "$@"; do targets+=("${module}_tests"); done
  ninja -C build/coverage "${targets[@]}"
  local python
  python=$(scripts/test_python.sh)/bin/python
  "$python" -m pip install --quiet --disable-pip-version-check gcovr==8.8
  for module in "$@"; do
    find build/coverage -name '*.gcda' -delete
    "build/coverage/${module}_tests" --gtest_brief=1 >/dev/null
    "$python" -m gcovr --root . --filter "src/$module/" --exclude '.*(_test|_fuzz|_bench|_tool)\.cc' --exclude '.*/testing/' \
      --gcov-ignore-parse-errors --print-summary build/coverage 2>/dev/null |
      awk -v module="$module" '/^src/ { print "  " $0 } /^lines:/ { print module ": " $2 " of lines" }'
  done
}

[ $# -gt 0 ] || usage
command=$1
shift
case "$command" in
  build) build "$@" ;;
  test)
    [ $# -gt 0 ] || usage
    build "$1_tests"
    "build/release/$1_tests" --gtest_filter="${2:-*}"
    ;;
  e2e)
    build dynamo
    "$(scripts/test_python.sh)/bin/python" -m pytest -q "${@:-tests}"
    ;;
  format) changed | xargs -r clang-format-19 -i ;;
  tidy)
    configure release
    if [ $# -eq 0 ]; then mapfile -t files < <(changed | grep '\.cc$' || true); else files=("$@"); fi
    [ ${#files[@]} -eq 0 ] || clang-tidy-19 -p build/release --quiet "${files[@]}"
    ;;
  prose) python3 tests/layering/check_prose.py ;;
  coverage)
    if [ $# -eq 0 ]; then mapfile -t modules < <(cd src && printf '%s\n' */ | tr -d /); else modules=("$@"); fi
    coverage "${modules[@]}"
    ;;
  profile)
    [ $# -gt 0 ] || usage
    build "$1_bench"
    perf record -q -g -o build/perf.data "build/release/$1_bench" --benchmark_filter="${2:-.}"
    perf report -i build/perf.data --no-children -g none --stdio 2>/dev/null | grep -v '^#' | sed -n '/./p' | head -40
    ;;
  *) usage ;;
esac
