#!/usr/bin/env bash
# Installs what building (and, with --tests, testing) needs, from the distribution's packages. Does nothing when all is there.
# Debian 12 and Ubuntu 24.04; needs root or sudo only when something is missing.
set -euo pipefail

packages=(g++ cmake ninja-build pkg-config ccache mold git ca-certificates curl
  libfmt-dev libcli11-dev libssl-dev libpcre2-dev libxxhash-dev libedit-dev prometheus-cpp-dev
  libprotobuf-dev protobuf-compiler libgrpc++-dev protobuf-compiler-grpc libnats-dev
  python3 python3-pip)
if [ "${1:-}" = --tests ]; then
  packages+=(libgtest-dev libgmock-dev libbenchmark-dev clang-19 clang-format-19 libclang-rt-19-dev python3-venv
    etcd-server etcd-client nats-server iproute2 procps)
fi
. /etc/os-release
case "$ID-${VERSION_ID:-}" in
  ubuntu-24.04) packages+=(libboost1.83-dev libboost-json1.83-dev) ;;
  *) packages+=(libboost1.81-dev libboost-json1.81-dev) ;;
esac

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "These packages are missing and need root or sudo to install: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "installing ${#missing[@]} packages: ${missing[*]}"
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "apt-get failed; its whole output is in $log" >&2
  exit 1
fi
rm -f "$log"
