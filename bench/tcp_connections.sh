#!/usr/bin/env bash
# The rate of KV transfer over tcp where the network limits each connection, with one connection to a peer and with several.
#
#   ninja -C build/release tcp_rate_tool && bench/tcp_connections.sh [MBIT [SECONDS]]      (root; 1000 Mbit/s a flow, 5 s a row)
#
# Two network namespaces joined by a veth pair stand for two hosts. The sender's side shapes each flow by itself, as clouds do: packets
# are put by their source port into one of 256 classes of htb, each of MBIT (two connections that meet in one class share it; the
# last column says how many were open). Nothing leaves the namespaces, and they are removed at the end.
set -euo pipefail
mbit=${1:-1000}
seconds=${2:-5}
tool=$(cd "$(dirname "$0")/.." && pwd)/build/release/tcp_rate_tool
[ -x "$tool" ] || { echo "$tool is not built" >&2; exit 1; }
sender=dynamo-send-$$
receiver=dynamo-receive-$$
folder=$(mktemp -d)

clean_up() {
  kill $(jobs -p) 2>/dev/null || true
  ip netns del "$sender" 2>/dev/null || true
  ip netns del "$receiver" 2>/dev/null || true
  rm -rf "$folder"
}
trap clean_up EXIT

ip netns add "$sender"
ip netns add "$receiver"
ip link add link0 netns "$sender" type veth peer name link0 netns "$receiver"
ip -n "$sender" addr add 10.0.0.1/24 dev link0
ip -n "$receiver" addr add 10.0.0.2/24 dev link0
ip -n "$sender" link set link0 up
ip -n "$receiver" link set link0 up

limit_each_flow() {
  local class
  echo "qdisc add dev link0 root handle 1: htb"
  echo "filter add dev link0 parent 1: protocol ip prio 1 handle 10: u32 divisor 256"
  for class in $(seq 0 255); do
    printf 'class add dev link0 parent 1: classid 1:%x htb rate %dmbit burst 256k cburst 256k quantum 60000\n' $((class + 1)) "$mbit"
    printf 'filter add dev link0 parent 1: protocol ip prio 1 u32 ht 10:%x: match u32 0 0 classid 1:%x\n' "$class" $((class + 1))
  done
  # Source ports of connections are even here: the eight bits above the lowest choose.
  echo "filter add dev link0 parent 1: protocol ip prio 1 u32 ht 800:: match ip protocol 6 0xff hashkey mask 0x01fe0000 at 20 link 10:"
}
limit_each_flow | ip netns exec "$sender" tc -batch -

ip netns exec "$receiver" "$tool" receive 10.0.0.2 "$folder/receiver" >"$folder/receiver.log" 2>&1 &
receiving=$!
until [ -s "$folder/receiver" ]; do
  kill -0 "$receiving" || { cat "$folder/receiver.log" >&2; exit 1; }
  sleep 0.1
done

printf '%d Mbit/s a flow\n%-28s %8s %8s %10s\n' "$mbit" connections GB/s Gbit/s open
measure() {
  local name=$1 least=$2 most=$3
  ip netns exec "$sender" "$tool" send 10.0.0.1 "$folder/receiver" "$least" "$most" "$seconds" >"$folder/rate" 2>"$folder/sender.log" &
  local sending=$! open=0
  sleep $((1 + seconds / 2))
  open=$(ip netns exec "$sender" ss -tnH state established | wc -l)
  wait "$sending" || { cat "$folder/sender.log" >&2; exit 1; }
  awk -v name="$name" -v open="$open" '{printf "%-28s %8.3f %8.2f %10d\n", name, $1, $1 * 8, open}' "$folder/rate"
}
measure "one" 1 1
measure "as needed, at most two" 1 2
measure "as needed, at most four" 1 4
measure "four from the start" 4 4
