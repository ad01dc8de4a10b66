"""Our tokenizer against the `tokenizers` package: ids of encode() and text of decode(), on strings of every kind.

Skipped, with the reason, where the package, the tokenizer's data or the test's program is missing:
  SmolLM2  from the default model's GGUF (needs the `gguf` package)
  Qwen3    from $DYNAMO_QWEN3_TOKENIZER, else ../shared/data/qwen3-tokenizer beside the checkout
The program is built by: ninja -C build/release tokenizer_tool.  DYNAMO_TOKENIZER_STRINGS sets how many strings.
"""
import os
import pathlib
import struct
import subprocess

import pytest

import tokenizer_strings

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOOL = ROOT / "build/release/tokenizer_tool"
STRINGS = int(os.environ.get("DYNAMO_TOKENIZER_STRINGS", "20000"))


def smollm2_json(folder):
    """The tokenizer inside the default model, as a tokenizer.json."""
    pytest.importorskip("gguf", reason="the gguf package is not installed")
    cache = pathlib.Path(os.environ.get("DYNAMO_CACHE", pathlib.Path.home() / ".cache/dynamo"))
    model = cache / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not model.exists():
        pytest.skip(f"{model} is not there (scripts/fetch_model.sh fetches it)")
    path = folder / "smollm2.json"
    path.write_text(tokenizer_strings.smollm2_json(model))
    return path


def qwen3_json(folder):
    default = ROOT.parent / "shared/data/qwen3-tokenizer"
    path = pathlib.Path(os.environ.get("DYNAMO_QWEN3_TOKENIZER", default))
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.exists():
        pytest.skip(f"{path} is not there (DYNAMO_QWEN3_TOKENIZER names another)")
    return path


def run_ours(path, texts):
    encoded = [t.encode() for t in texts]
    data = b"".join(struct.pack("<I", len(e)) + e for e in encoded)
    out = subprocess.run([TOOL, "encode", path], input=data, stdout=subprocess.PIPE, check=True).stdout
    at = 0
    for _ in texts:
        (count,) = struct.unpack_from("<I", out, at)
        ids = list(struct.unpack_from(f"<{count}I", out, at + 4))
        at += 4 + 4 * count
        (size,) = struct.unpack_from("<I", out, at)
        yield ids, out[at + 4 : at + 4 + size].decode()
        at += 4 + size
    assert at == len(out)


@pytest.mark.parametrize("json_of", [smollm2_json, qwen3_json], ids=["smollm2", "qwen3"])
def test_equals_the_tokenizers_package(json_of, tmp_path):
    tokenizers = pytest.importorskip("tokenizers", reason="the tokenizers package is not installed")
    if not TOOL.exists():
        pytest.skip(f"{TOOL} is not built (ninja -C build/release tokenizer_tool)")
    path = json_of(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(path))
    added = [t.content for t in theirs.get_added_tokens_decoder().values()]
    texts = tokenizer_strings.strings(STRINGS, added, seed=20)
    different = []
    for text, (ids, decoded) in zip(texts, run_ours(path, texts), strict=True):
        expected = theirs.encode(text, add_special_tokens=False).ids
        if ids != expected or decoded != theirs.decode(expected, skip_special_tokens=False):
            different.append((text, ids, expected))
    print(f"{path.name}: {len(texts)} strings, {len(different)} different")
    assert not different, f"{len(different)} of {len(texts)} differ, the first: {different[0]!r}"
