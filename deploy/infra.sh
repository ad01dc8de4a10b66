#!/usr/bin/env bash
# etcd and NATS for a cluster, without Docker.
#
#   deploy/infra.sh up     starts both in the background, and says what to set on the other machines
#   deploy/infra.sh down   stops both
#   deploy/infra.sh status says whether they run
# Data and logs: $DYNAMO_INFRA_DIR (default ~/.cache/dynamo/infra). Ports: ETCD_PORT (2379), NATS_PORT (4222).
# Address: INFRA_HOST (all); an IPv6 address without brackets.
set -euo pipefail

dir=${DYNAMO_INFRA_DIR:-${HOME:-/tmp}/.cache/dynamo/infra}
host=${INFRA_HOST:-0.0.0.0}
etcd_port=${ETCD_PORT:-2379}
nats_port=${NATS_PORT:-4222}

# As URLs have it: IPv6 addresses in brackets.
in_url() { case $1 in *:*) echo "[$1]" ;; *) echo "$1" ;; esac; }

is_running() { [ -f "$dir/$1.pid" ] && kill -0 "$(cat "$dir/$1.pid")" 2>/dev/null; }

start() {
  local name=$1
  shift
  if is_running "$name"; then
    echo "$name runs already (process $(cat "$dir/$name.pid"))"
    return
  fi
  if ! command -v "$1" >/dev/null; then
    echo "$1 is not installed; on Debian: apt-get install etcd-server nats-server" >&2
    exit 1
  fi
  setsid "$@" >"$dir/$name.log" 2>&1 </dev/null &
  echo $! >"$dir/$name.pid"
}

wait_for_port() {
  for _ in $(seq 100); do
    is_running "$1" || break
    if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null || (exec 3<>"/dev/tcp/$host/$2") 2>/dev/null; then return; fi
    sleep 0.1
  done
  tail -n 20 "$dir/$1.log" >&2
  echo "$1 did not start; its log is above and in $dir/$1.log" >&2
  exit 1
}

stop() {
  if ! is_running "$1"; then
    rm -f "$dir/$1.pid"
    return
  fi
  local pid
  pid=$(cat "$dir/$1.pid")
  kill "$pid"
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
  rm -f "$dir/$1.pid"
  echo "$1 stopped"
}

case "${1:-}" in
  up)
    mkdir -p "$dir"
    url=http://$(in_url "$host"):$etcd_port
    start etcd etcd --data-dir "$dir/etcd" --listen-client-urls "$url" --advertise-client-urls "$url" --listen-peer-urls http://127.0.0.1:0
    start nats nats-server --addr "$host" --port "$nats_port"
    wait_for_port etcd "$etcd_port"
    wait_for_port nats "$nats_port"
    address=$host
    case $host in 0.0.0.0 | ::) address=$(hostname -I | awk '{print $1}') ;; esac
    address=$(in_url "$address")
    echo "export ETCD_ENDPOINTS=http://$address:$etcd_port"
    echo "export NATS_SERVER=nats://$address:$nats_port"
    ;;
  down)
    stop nats
    stop etcd
    ;;
  status)
    for name in etcd nats; do
      if is_running $name; then echo "$name runs (process $(cat "$dir/$name.pid"))"; else echo "$name does not run"; fi
    done
    ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
