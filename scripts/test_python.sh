#!/usr/bin/env bash
# Makes build/venv, the Python that the end-to-end tests run in, and prints its path. Done once per tests/requirements.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=build/venv/requirements.txt
if ! cmp -s tests/requirements.txt "$stamp"; then
  rm -rf build/venv
  python3 -m venv build/venv
  build/venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
  cp tests/requirements.txt "$stamp"
fi
echo build/venv
