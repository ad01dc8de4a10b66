#!/usr/bin/env python3
"""Makes the tokenizers and the vectors in this folder with the `tokenizers` package.

  texts.jsonl   the texts, one JSON string a line; every NAME.ids has a line for each
  NAME.json     a small tokenizer in the style of GPT-2, SmolLM, Qwen2, Llama 3, and one with every odd flag
  NAME.ids      the ids of encode(text, add_special_tokens=False), a space between; where decode() of them is not the text
                again, a tab and what it is, as JSON
smollm2.ids and qwen3.ids are of the real tokenizers, which are not here: SmolLM2's is in the default model's GGUF, Qwen3's
tokenizer.json is looked for in $DYNAMO_QWEN3_TOKENIZER.

Run: python3 src/text/testdata/make_vectors.py   (needs the packages tokenizers and gguf; a few seconds)
"""
import json
import os
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[2] / "tests"))
import tokenizer_strings  # noqa: E402

TEXTS = 2000
VOCABULARY = 900
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + REST
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# Of every kind of flag, alone and together.
ODD = [
    AddedToken("<mask>", lstrip=True, special=True),
    AddedToken("[R]", rstrip=True),
    AddedToken("[LR]", lstrip=True, rstrip=True, normalized=False),
    AddedToken("token", single_word=True),
    AddedToken("to", single_word=True, lstrip=True),
    AddedToken("日本", single_word=True),
    AddedToken("e\u0301t", normalized=True),
    AddedToken("e\u0301q", normalized=False),
    AddedToken("   ", normalized=False),
    AddedToken("<|im", special=True),
    AddedToken("<|im_start|><|im_end|>", normalized=False),
    AddedToken("é", normalized=False),
]


def byte_level(prefix=False, regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level()])


def trained(pre_tokenizer, normalizer=None, alphabet=True, special=SPECIAL):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()) if alphabet else [],
    )
    tokenizer.train_from_iterator(training_text(), trainer)
    return tokenizer


def training_text():
    r = random.Random(3)
    yield pathlib.Path(tokenizer_strings.__file__).read_text()
    yield from (" ".join(r.choice(tokenizer_strings.WORDS) for _ in range(2000)) for _ in range(5))


def gpt2():
    return trained(byte_level(regex=True))


def smollm():
    return trained(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(regex=True)]))


def qwen2():
    tokenizer = trained(split(QWEN2), normalizers.NFC(), special=[])
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def llama3():
    tokenizer = trained(split(LLAMA3), special=[])
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", *SPECIAL])
    begin = ("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))
    template = processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[begin])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return tokenizer


def odd():
    """A space put before, NFC, added tokens of every flag, and bytes that the vocabulary does not have."""
    tokenizer = trained(byte_level(prefix=True, regex=True), normalizers.Sequence([normalizers.NFC()]), alphabet=False)
    tokenizer.add_tokens(ODD)
    end = ("<|im_end|>", tokenizer.token_to_id("<|im_end|>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<|im_end|> $A <|im_end|>", special_tokens=[end])
    return tokenizer


def json_of(name, tokenizer):
    document = json.loads(tokenizer.to_str())
    if name == "llama3":  # ids that merges alone would not give: two letters that are a token are that token
        document["model"]["ignore_merges"] = True
        document["model"]["merges"] = [m for i, m in enumerate(document["model"]["merges"]) if i % 7 != 3 or len("".join(m)) < 6]
        document["model"]["merges"] = reachable(document["model"])
    if name == "gpt2":  # as older files write them
        document["model"]["merges"] = [" ".join(m) for m in document["model"]["merges"]]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def reachable(model):
    return [m for m in model["merges"] if all(part in model["vocab"] for part in (*m, "".join(m)))]


def vectors(tokenizer, texts):
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        line = " ".join(map(str, ids))
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        yield line if decoded == text else f"{line}\t{json.dumps(decoded, ensure_ascii=False)}"


def short_texts():
    added = SPECIAL + [t.content for t in ODD]
    texts = tokenizer_strings.strings(20 * TEXTS, added, seed=4)
    around = [a + t + b for t in added for a in ("", " ", "  ", "\n", "x", "_", "é", "e\u0301") for b in ("", " ", "\t\n", "y", "ーx", "'s")]
    r = random.Random(5)
    r.shuffle(around)
    long = ["ab" * 60, " " * 300, "5" * 100, "é中😀" * 30, "\r\n" * 100]
    short = [t for t in texts if 0 < len(t.encode()) <= 24]
    return (long + around[:300] + short)[:TEXTS]


def main():
    texts = short_texts()
    assert len(texts) == TEXTS
    (FOLDER / "texts.jsonl").write_text("".join(json.dumps(t, ensure_ascii=False) + "\n" for t in texts))
    real = {}
    cache = pathlib.Path(os.environ.get("DYNAMO_CACHE", pathlib.Path.home() / ".cache/dynamo"))
    real["smollm2"] = tokenizer_strings.smollm2_json(cache / "SmolLM2-135M-Instruct.Q4_1.gguf")
    real["qwen3"] = (pathlib.Path(os.environ["DYNAMO_QWEN3_TOKENIZER"]) / "tokenizer.json").read_text()
    small = {make.__name__: json_of(make.__name__, make()) for make in (gpt2, smollm, qwen2, llama3, odd)}
    for name, document in small.items():
        (FOLDER / f"{name}.json").write_text(document)
    for name, document in (small | real).items():
        lines = list(vectors(Tokenizer.from_str(document), texts))
        (FOLDER / f"{name}.ids").write_text("\n".join(lines) + "\n")
        print(name, len(document), "bytes of JSON,", sum(map(len, lines)), "of vectors")


if __name__ == "__main__":
    main()
