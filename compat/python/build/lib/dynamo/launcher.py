"""Replaces this Python process by the dynamo program."""
import os
import pathlib
import shutil
import sys


def find_program():
    """$DYNAMO_BIN, then PATH, then the checkout that this file may lie in, or the one that is the current folder."""
    named = os.environ.get("DYNAMO_BIN")
    if named:
        if not os.access(named, os.X_OK):
            sys.exit(f"DYNAMO_BIN names {named}, which is no program")
        return named
    if found := shutil.which("dynamo"):
        return found
    roots = [pathlib.Path(__file__).resolve().parents[3], pathlib.Path.cwd()]
    for root in roots:
        program = root / "build/release/dynamo"
        if os.access(program, os.X_OK):
            return str(program)
    sys.exit("the dynamo program was not found: set DYNAMO_BIN, put it on PATH, or build it (./quickstart.sh)")


def launch(module, command):
    """Never returns. The process is then called after `module`, as pkill -f finds it."""
    os.execv(find_program(), [module, command, *sys.argv[1:]])
