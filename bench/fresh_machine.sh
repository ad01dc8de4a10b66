#!/usr/bin/env bash
# Times README's two commands as a new user meets them: in a fresh Debian 12 that has git and a shell and nothing else.
#
#   bench/fresh_machine.sh FOLDER [--tests]     (root; needs debootstrap, about 4 GB in FOLDER)
#
# Makes FOLDER/root with debootstrap, clones the last commit of this checkout into it, and runs ./quickstart.sh twice (cold, then
# again), a rebuild after changing one source file, and with --tests also ./test.sh. A chroot shares this machine's kernel, processors
# and network, and no installed file.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
folder=$1
mkdir -p "$folder"
root=$(cd "$folder" && pwd)/root

if [ ! -d "$root" ]; then
  debootstrap --variant=minbase --include=git,ca-certificates bookworm "$root" >"$folder/debootstrap.log"
  sed -i 's/^\(deb .*\) bookworm main$/&\n\1 bookworm-updates main/' "$root/etc/apt/sources.list"
fi
cp /etc/resolv.conf /etc/hosts "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
rm -rf "$root/root/dynamo"
git clone -q "$checkout" "$root/root/dynamo"

# A mount of its own, so that the tests can make network namespaces in it.
mountpoint -q "$root" || mount --bind "$root" "$root"
mountpoint -q "$root/sys" || mount -t sysfs sysfs "$root/sys"
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
mountpoint -q "$root/dev" || mount --rbind /dev "$root/dev"
trap 'umount -l "$root/dev" "$root/proc" "$root/sys" "$root"' EXIT

inside() {
  chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    bash -c "cd /root/dynamo && $1" </dev/null
}
timed() {
  local name=$1 started=$SECONDS
  inside "$2" 2>&1 | sed "s/^/$name | /"
  echo "$name: $((SECONDS - started)) s"
}

timed "cold quickstart" ./quickstart.sh
timed "second quickstart" ./quickstart.sh
timed "rebuild after changing one file" "echo '// changed' >>src/engine/scheduler.cc && ninja -C build/release dynamo; git checkout -q src/engine/scheduler.cc"
if [ "${2:-}" = --tests ]; then
  timed "tests" ./test.sh
fi
