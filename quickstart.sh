#!/usr/bin/env bash
# From a fresh Debian machine to a streamed answer: installs what is missing, builds, fetches the default model, starts the
# server, asks it one question and prints the answer as it comes.
#
#   ./quickstart.sh                      two prefill and two decode workers; asks "What is the capital of France?", and then of Italy:
#                                        the second turn finds the first in the caches of the workers that had it
#   ./quickstart.sh "another question"   asks that
#   ./quickstart.sh --keep               leaves the server running and prints its URL
set -euo pipefail
cd "$(dirname "$0")"

question="What is the capital of France?"
keep=false
for argument in "$@"; do
  case "$argument" in
    --keep) keep=true ;;
    -h | --help)
      sed -n '2,9s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    -*)
      echo "unknown flag $argument; see ./quickstart.sh --help" >&2
      exit 2
      ;;
    *) question=$argument ;;
  esac
done

step() { echo "[$(printf '%3d' $SECONDS) s] $*"; }

scripts/install_dependencies.sh
step "building build/release/dynamo"
[ -f build/release/build.ninja ] || cmake --preset release -DDYNAMO_TESTS=OFF >/dev/null
ninja -C build/release dynamo >build/release/build.log 2>&1 || {
  grep -A 20 -E '^FAILED|error' build/release/build.log >&2 || tail -n 40 build/release/build.log >&2
  exit 1
}
model=$(scripts/fetch_model.sh)
step "starting the server: hub, frontend, two prefill and two decode workers"
log=build/quickstart.log
build/release/dynamo serve --model-path "$model" --served-model-name SmolLM2-135M-Instruct \
  --prefill-workers 2 --decode-workers 2 --router-mode kv --http-host 127.0.0.1 --http-port "${DYN_HTTP_PORT:-0}" >"$log" 2>&1 </dev/null &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true' EXIT
url=
for _ in $(seq 600); do
  url=$(sed -n 's/.*all processes are ready .*url=\([^ ]*\).*/\1/p' "$log")
  [ -z "$url" ] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
if [ -z "$url" ]; then
  cat "$log" >&2
  echo "the server did not start; its log is above and in $log" >&2
  exit 1
fi
step "asking: $question"
then="What is the capital of Italy?"
build/release/dynamo chat --url "$url" --ask "$question" --ask "$then" --temperature 0 --max-tokens 200 2>&1 | tee build/quickstart.answers
mapfile -t turns < <(sed -n 's/^\[first token .*; \([0-9]*\) of \([0-9]*\) prompt tokens cached; \(.*\))\]$/\1 \2 \3/p' build/quickstart.answers)
read -r _ _ first <<<"${turns[0]:-}"
read -r cached prompt second <<<"${turns[1]:-}"
if [ -n "$second" ] && [ "$first" = "$second" ] && [ "$cached" -gt 0 ]; then
  step "the second turn ($then) went to $second too, which had $cached of its $prompt prompt tokens in its cache"
fi
# What the prefill workers wrote into the decode workers' memory.
for port in $(sed -n 's/.*worker ready .*role=prefill .*system_port=\([0-9]*\).*/\1/p' "$log"); do
  curl -sf "http://127.0.0.1:$port/metrics"
done >build/quickstart.metrics
moved=$(awk '
  /^dynamo_handoff_sent_blocks_total/ { blocks += $2 }
  /^dynamo_handoff_sent_bytes_total/ { bytes += $2 }
  /^dynamo_handoff_transfer_seconds_total/ { seconds += $2 }
  END { if (blocks > 0 && seconds > 0) printf "%d KV blocks, %.1f MB, moved over shared memory at %.1f GB/s", blocks, bytes / 1e6, bytes / seconds / 1e9 }
' build/quickstart.metrics)
if [ -n "$moved" ]; then
  step "prefill to decode: $moved"
fi
if $keep; then
  trap - EXIT
  disown "$server"
  echo "The server goes on at $url (process $server, log $log). Talk to it: build/release/dynamo chat --url $url"
fi
step "done"
