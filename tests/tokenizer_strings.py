"""Strings that a tokenizer should be tried on, and the default model's tokenizer as a tokenizer.json."""
import json
import pathlib
import random
import sysconfig

# Ranges of assigned characters of many scripts, and characters that cutting text is delicate at.
SCRIPTS = [
    (0x20, 0x7E), (0xA1, 0x24F), (0x250, 0x2AF), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x58A), (0x5D0, 0x5EA),
    (0x600, 0x6FF), (0x900, 0x97F), (0x980, 0x9FE), (0xB80, 0xBFA), (0xE01, 0xE5B), (0xF00, 0xFDA), (0x1000, 0x109F),
    (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137C), (0x13A0, 0x13FD), (0x1780, 0x17F9), (0x1E00, 0x1FFE),
    (0x2000, 0x206F), (0x2070, 0x209C), (0x20A0, 0x20C0), (0x2100, 0x218B), (0x2200, 0x22FF), (0x2460, 0x24FF),
    (0x2500, 0x25FF), (0x2E80, 0x2FD5), (0x3000, 0x30FF), (0x3105, 0x318E), (0x3400, 0x3500), (0x4E00, 0x9FFF),
    (0xA960, 0xA97C), (0xAC00, 0xD7A3), (0xF900, 0xFAD9), (0xFB00, 0xFB4F), (0xFE70, 0xFEFC), (0xFF01, 0xFFEE),
    (0x10400, 0x1044F), (0x11100, 0x11147), (0x1D400, 0x1D7FF), (0x1F100, 0x1F1FF), (0x1F300, 0x1F64F), (0x20000, 0x20100),
    (0x2F800, 0x2FA1D),
]  # fmt: skip
SPACES = " \t\n\r\x0b\x0c\x1c\x85\xa0\u1680\u180e\u2003\u2028\u2029\u202f\u200b\u3000\ufeff"
MARKS = "\u0300\u0301\u0308\u0323\u0327\u0328\u0345\u0334\u031b\u05b0\u05bc\u064b\u0651\u093c\u0e38\u0f71\u0f72\u302a\u3099\u309a\u200d\ufe0f\u0360\U0001d165\U000110ba"
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇫🇷", "1️⃣", "☕", "❤️", "🧑🏿‍🚀", "🤷‍♂️"]
WORDS = """the of and Don't we'll I'VE it'S 'twas rock'n'roll naïve façade Übergröße Straße œuvre Zażółć gęślą jaźń
Привет мир, как дела? Ελληνικά γλώσσα 你好,世界! 今天天气怎么样 日本語のテキスト カタカナ ひらがな 한국어 텍스트입니다 नमस्ते दुनिया
ภาษาไทย مرحبا بالعالم שלום עולם Việt Nam tiếng İstanbul ığüşöç ქართული Հայերեն አማርኛ 3.14159 1,000,000 0xDEADBEEF 2024-01-31
١٢٣ ४५६ Ⅷ ½ ² 𝟘𝟙 foo_bar camelCase SCREAMING_SNAKE a==b x->y() {"key": [1, 2]} <div class="x"> https://example.org/a?b=c&d=%20
user@example.com C++20 #include <vector> // comment /* block */ \\n \\t $100.00 €50 £3 50% ... --- *** ___ ``` ### ¿Qué? ¡Olé! 'ſ 'S K Å
""".split()


def source_files():
    """Python's own library: code and English, the same on one machine at all times."""
    return sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))


def any_character(r):
    while True:
        c = r.choice([r.randrange(0x110000), r.randrange(0x10000), r.randrange(0x3000)])
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def script_run(r):
    low, high = r.choice(SCRIPTS)
    return "".join(chr(r.randint(low, high)) for _ in range(r.randint(1, 12)))


def marks(r):
    base = r.choice(["a", "e", "o", "A", " ", "\u1e0b", "한", "ᄒ", "ᄒ\u1161", "가\u11a8", "é", "Å", "\u2126", "\u0958"])
    return base + "".join(r.choice(MARKS) for _ in range(r.randint(1, 6)))


def piece(r, code, added):
    kinds = [
        lambda: "".join(any_character(r) for _ in range(r.randint(1, 20))),
        lambda: script_run(r),
        lambda: " ".join(script_run(r) for _ in range(r.randint(1, 6))),
        lambda: " ".join(r.choice(WORDS) for _ in range(r.randint(1, 12))),
        lambda: r.choice(WORDS) + r.choice(["", " ", "\n", "  ", "\t"]) + r.choice(WORDS),
        lambda: "".join(r.choice(EMOJI) for _ in range(r.randint(1, 5))),
        lambda: "".join(r.choice(SPACES) for _ in range(r.randint(1, 12))),
        lambda: r.choice(" \n\t") * r.choice([1, 2, 3, 4, 7, 8, 16, 31, 64, 200]),
        lambda: "".join(r.choice("0123456789٣४Ⅷ½²") for _ in range(r.randint(1, 30))),
        lambda: r.choice("0179") * r.choice([1, 2, 3, 4, 10, 50, 300]),
        lambda: r.choice("ax-=.*#_é中") * r.choice([2, 3, 5, 17, 47, 48, 49, 100, 400]),
        lambda: marks(r),
        lambda: r.choice(added) if added else "<|x|>",
        lambda: (r.choice(added) if added else "<|x|>")[: r.randint(1, 12)],
        lambda: code[(at := r.randrange(len(code))) : at + r.randint(1, 200)],
        lambda: r.choice(["'s", "'S", "'ll", "'Re", "'VE", "'D", "'m", "'t", "'ſ", "'", "''", "’s"]),
    ]
    return r.choice(kinds)()


def strings(count, added, seed):
    """`count` strings, the same for the same arguments."""
    r = random.Random(seed)
    code = "".join(p.read_text(errors="replace") for p in source_files()[:60])
    fixed = ["", " ", "\n", "a", "é", "\u0000", "\U0010ffff", " a", "a ", "  a", "\r\n\r\n", "x" * 5000, " " * 5000, "7" * 5000, "\n" * 3000 + "a"]
    return (fixed + ["".join(piece(r, code, added) for _ in range(r.randint(1, 6))) for _ in range(count)])[:count]


def smollm2_json(model):
    """The tokenizer in the GGUF file `model`, which is of SmolLM2, as the `tokenizers` package writes it."""
    from gguf import GGUFReader

    fields = GGUFReader(model).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    merges = fields["tokenizer.ggml.merges"].contents()
    assert fields["tokenizer.ggml.pre"].contents() == "smollm"
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return json.dumps({
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": t, **flags} for i, (t, k) in enumerate(zip(tokens, kinds)) if k == 3],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, bytes_]},
        "post_processor": None,
        "decoder": bytes_,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {t: i for i, t in enumerate(tokens)}, "merges": [m.split(" ") for m in merges]},
    })  # fmt: skip
