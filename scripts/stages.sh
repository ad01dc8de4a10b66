# Stages of test.sh and .ci/run: commands that run beside each other, a line for each when it begins and when it ends.
# To be sourced.
mkdir -p build/test
declare -A stages=()  # name -> process that runs it
set -m                # each in a process group of its own, so that all of it can be ended

step() { echo "== [$(printf '%4d' $SECONDS) s] $*"; }

begin() { # NAME COMMAND...
  local name=$1 begun=$SECONDS log=build/test/$1.log
  shift
  step "$name begins"
  (
    if "$@" >"$log" 2>&1 </dev/null; then
      step "$name passed, $((SECONDS - begun)) s"
    else
      tail -n 60 "$log" >&2
      step "$name FAILED after $((SECONDS - begun)) s; all that it said is in $log" >&2
      exit 1
    fi
  ) &
  stages[$name]=$!
}

# Waits for one stage, or all. The script ends with the first that failed.
finish() { # [NAME]
  local name=${1:-} done
  while [ ${#stages[@]} -gt 0 ] && { [ -z "$name" ] || [ -n "${stages[$name]:-}" ]; }; do
    wait -n -p done "${stages[@]}" || exit 1
    for one in "${!stages[@]}"; do
      if [ "${stages[$one]}" = "$done" ]; then unset "stages[$one]"; fi
    done
  done
}

end_stages() {
  local one
  for one in "${stages[@]}"; do kill -INT -- "-$one" 2>/dev/null || true; done
  wait
}
trap end_stages EXIT
