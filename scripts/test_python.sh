#!/usr/bin/env bash
# Makes build/venv, the Python that the end-to-end tests run in, and prints its path. Done once per content of tests/requirements*.txt.
# NIXL, whose library the unit tests of transfer load, is installed alone: it would bring PyTorch.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=build/venv/requirements.txt
wanted=(tests/requirements.txt tests/requirements_alone.txt)
if ! cat "${wanted[@]}" | cmp -s - "$stamp"; then
  rm -rf build/venv
  python3 -m venv build/venv
  build/venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
  build/venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r tests/requirements_alone.txt
  cat "${wanted[@]}" >"$stamp"
fi
echo build/venv
