#!/usr/bin/env bash
# Builds the libFuzzer targets with ASan+UBSan and runs each for a while.   fuzz.sh SECONDS [TARGET ...]
# A crash leaves its input in build/fuzz/crashes/ and fails the script. Seeds: src/*/testdata/fuzz/TARGET/, where present.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
shift
cmake --preset fuzz >/dev/null
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(git ls-files 'src/*_fuzz.cc' | xargs -n 1 basename | sed 's/\.cc$//')
fi
ninja -C build/fuzz "${targets[@]}"
mkdir -p build/fuzz/crashes
for target in "${targets[@]}"; do
  corpus=build/fuzz/corpus/$target
  mkdir -p "$corpus"
  seeds=(src/*/testdata/fuzz/"$target")
  [ -d "${seeds[0]}" ] || seeds=()
  log=build/fuzz/$target.log
  if ! "build/fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 \
    -artifact_prefix="build/fuzz/crashes/$target-" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "$target failed; its whole output is in $log" >&2
    exit 1
  fi
  echo "$target: $(grep -oE 'Done [0-9]+ runs' "$log" || tail -n 1 "$log")"
done
