#!/usr/bin/env python3
"""Records what Hugging Face's `tokenizers` makes of many texts, for src/text/tokenizer's tests.

    python tests/oracles/record_tokenizers.py [project root]

needs the Python package `tokenizers`. Everything is generated from fixed seeds. It writes into
src/text/tokenizer/testdata/:
    NAME.tokenizer.json   small tokenizers, trained on text that is made here
    NAME.cases.json       [{"text" or "bytes" (hex), "ids", "plain" (ids without special tokens),
                            "decoded", "kept" (decoded with special tokens)}]
    NAME.decode.json      [{"ids", "decoded", "kept"}] for ids in any order
    regex.json            which characters \\s, \\w, \\p{L} ... match, as ranges
"""

import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

WORDS = (
    "the of and to in is you that it he was for on are as with his they at be this have from or "
    "one had by word but not what all were we when your can said there use an each which she do how "
    "their if will up other about out many then them these so some her would make like him into time "
    "has look two more write go see number no way could people my than first water been call who oil "
    "its now find long down day did get come made may part token tokens attention cache block price "
    "total apples each sold twice half hours minutes dollars"
).split()
OTHER = (
    "Grüße Straße naïve café œuvre Ångström Ελληνικά ΑΒΓ σοφός русский язык привет мир українська "
    "עברית שלום العربية مرحبا سلام हिन्दी नमस्ते தமிழ் বাংলা ไทย สวัสดีครับ 中文 你好世界 汉字 日本語 こんにちは カタカナ "
    "한국어 안녕하세요 Tiếng Việt İstanbul ﬁn ﬆ Å Å e\u0301 o\u0308\u0323 ǅ ㎏ ① Ⅷ ½ ٣٤ १२ 𝔘𝔫𝔦 𐍈 🙂 👩‍👩‍👧‍👦 🇩🇪 👍🏽 ❤️"
).split(" ")


def training_text(rng):
    """Lines of words, numbers and code, repeated so that merges arise."""
    lines = []
    for _ in range(3000):
        line = [rng.choice(WORDS) for _ in range(rng.randint(3, 12))]
        if rng.random() < 0.3:
            line[0] = line[0].capitalize()
        if rng.random() < 0.3:
            line.insert(rng.randrange(len(line)), rng.choice(OTHER))
        if rng.random() < 0.3:
            line.append(f"{rng.randint(0, 9999)}{rng.choice(['', '.', '%', ' * 2 = 4'])}")
        if rng.random() < 0.2:
            line.append(rng.choice(["don't", "I'll", "we've", "it's", "DON'T", "I'M"]))
        lines.append(" ".join(line) + rng.choice([".", "!", "?", "\n", "\n\n", "  ", ";\t"]))
    lines += ["def f(x):\n    return x + 1\n"] * 20
    return lines


RANGES = [
    (0x20, 0x7E), (0x00, 0x1F), (0x7F, 0xFF), (0x100, 0x24F), (0x300, 0x36F), (0x370, 0x3FF),
    (0x400, 0x4FF), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF),
    (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x20A0, 0x214F), (0x2150, 0x218F), (0x2460, 0x24FF),
    (0x3000, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xACFF), (0xD7F0, 0xD7FF), (0xE000, 0xE010),
    (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFE00, 0xFE0F), (0xFF00, 0xFFEF), (0xFFF0, 0xFFFF),
    (0x10000, 0x1007F), (0x1D400, 0x1D4FF), (0x1F1E6, 0x1F1FF), (0x1F300, 0x1F64F),
    (0xE0020, 0xE007F), (0x10FFF0, 0x10FFFF),
]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\r", "\v", "\f", "\u00a0", "\u0085", "\u1680", "\u180e",
          "\u2003", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\ufeff", "\x1c"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]


def texts(rng, specials):
    """The texts that every tokenizer is asked about."""
    out = ["", " ", "  ", "\n", "a", " a", "a ", "  a  b  ", "\n\n  a", "▁", "▁a", " ▁a▁ ", "\x00",
           "a\x00b", "Hello, world!", "Ġ", "Ċ", "é", "e\u0301", "\u0301", "1", "12345678901234",
           "3.14159 1,000,000 ١٢٣ Ⅷ ½ ①②③", "<0x41>", "<unk>", "\ufffd", "\U0010ffff", "\ufeffa"]
    for c in CONTRACTIONS:
        out += [f"I{c} we{c.upper()} {c}x x {c} ’{c[1:]}", f"X{c.title()}"]
    out += ["'\u017f 'S '\u212a x'\u017fy", "can't've y'all'd'VE", "''s '''t"]
    for c in ["a", " ", "\n", "\t", "中", "e\u0301", "👍", "1", "!", "ab ", "a\n", "\u00a0", "▁", "-"]:
        for n in (2, 3, 17, 64, 200):
            out.append(c * n)
    for _ in range(40):
        out.append("".join(rng.choice(SPACES) for _ in range(rng.randint(1, 8))))
        out.append("".join(rng.choice(SPACES + WORDS[:20] + ["7", "!", "."]) for _ in range(12)))
    for _ in range(60):
        out.append(" ".join(rng.choice(WORDS + OTHER + CONTRACTIONS) for _ in range(rng.randint(1, 14))))
    for _ in range(60):
        out.append("".join(chr(rng.randint(*rng.choice(RANGES))) for _ in range(rng.randint(1, 16))))
    for low, high in RANGES:
        out.append("".join(chr(rng.randint(low, high)) for _ in range(12)))
        out.append(" ".join("a" + chr(rng.randint(low, high)) for _ in range(8)))
    for s in specials:
        out += [s, s + s, f" {s} ", f"a{s}b", f"a {s} b", f"  {s}  {s}\n{s}\t", s[:-1], s[1:],
                f"{s}!", f"_{s}", f"{s}\u0301", f"x{s.upper()}y", f"\u00a0{s}\u2003", f"é{s}é"]
    for _ in range(40 if specials else 0):
        out.append("".join(rng.choice(specials + SPACES[:5] + WORDS[:9]) for _ in range(9)))
    return out


def byte_texts(rng):
    """Bytes that are no UTF-8."""
    out = [b"\xff", b"a\xffb", b"\xc3", b"\xe4\xbd", b"\xe4\xbd\xa0\xe5", b"\xed\xa0\x80", b"\xc0\x80",
           b"\xf0\x9f\x98", b"\xf0\x9fa", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\x80\x80",
           b"\xed\xa0\xbd\xed\xb8\x80", b"\xf8\x88\x80\x80\x80", b"ab\xe2\x82 \xe2\x82\xac"]
    valid = "aé中👍 ".encode()
    for _ in range(40):
        data = bytearray(valid * 2)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        out.append(bytes(data[: rng.randint(1, len(data))]))
        out.append(bytes(rng.choice([0x20, 0x61, 0x80, 0xBF, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0x9F])
                         for _ in range(rng.randint(1, 10))))
    return out


def byte_level_bpe(text, size, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(text, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentencepiece_bpe(text, size, prefix):
    """A vocabulary as SentencePiece makes it: <unk> <s> </s>, 256 bytes, then pieces."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prefix)
    trainer = trainers.BpeTrainer(
        vocab_size=size, show_progress=False, limit_alphabet=120,
        special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)])
    tokenizer.train_from_iterator(text, trainer)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["id"] < 3]
    return Tokenizer.from_str(json.dumps(data))


def bos_template(bos):
    return processors.TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])


def build(text):
    """name -> (tokenizer, special tokens that texts contain, whether to write old file forms)"""
    out = {}

    gpt2 = byte_level_bpe(text, 500)
    gpt2.add_special_tokens(["<|endoftext|>"])
    gpt2.post_processor = processors.ByteLevel(trim_offsets=False)
    out["gpt2"] = (gpt2, ["<|endoftext|>"], True)

    prefix = byte_level_bpe(text, 330)
    prefix.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    prefix.add_special_tokens(["<s>", "</s>"])
    prefix.post_processor = processors.RobertaProcessing(
        ("</s>", prefix.token_to_id("</s>")), ("<s>", prefix.token_to_id("<s>")))
    out["prefix_space"] = (prefix, ["<s>", "</s>"], False)

    llama3 = byte_level_bpe(text, 600, ignore_merges=True)
    llama3.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    llama3.add_special_tokens(specials)
    llama3.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        bos_template((specials[0], llama3.token_to_id(specials[0])))])
    out["llama3"] = (llama3, specials, False)

    qwen2 = byte_level_bpe(text, 500)
    qwen2.normalizer = normalizers.NFC()
    qwen2.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    qwen2.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    qwen2.add_tokens([AddedToken("<think>", normalized=False), AddedToken("Ange\u0301", normalized=True)])
    out["qwen2"] = (qwen2, ["<|im_start|>", "<think>", "Ang\u00e9"], False)

    llama2 = sentencepiece_bpe(text, 700, "always")
    llama2.normalizer = normalizers.Sequence([
        normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama2.pre_tokenizer = None
    llama2.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(content=" ", left=1, right=0)])
    llama2.post_processor = bos_template(("<s>", 1))
    out["llama2"] = (llama2, ["<s>", "</s>"], True)

    mistral = sentencepiece_bpe(text, 700, "first")
    mistral.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    mistral.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(content=" ", left=1, right=0)])
    mistral.add_special_tokens(["[INST]", "[/INST]"])
    mistral.post_processor = bos_template(("<s>", 1))
    out["mistral"] = (mistral, ["<s>", "[INST]", "[/INST]"], False)

    metaspace = sentencepiece_bpe(text, 600, "always")
    metaspace.pre_tokenizer = pre_tokenizers.Metaspace()
    metaspace.decoder = decoders.Metaspace()
    out["metaspace_old"] = (metaspace, ["</s>"], True)

    flags = byte_level_bpe(text, 400)
    flags.normalizer = normalizers.Sequence([
        normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()])
    for i, (lstrip, rstrip, word, normalized) in enumerate(
            (a, b, c, d) for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1)):
        flags.add_tokens([AddedToken(f"Tok{'ABCDEFGHIJKLMNOP'[i]}", lstrip=bool(lstrip), special=i % 3 == 0 and not normalized,
                                     rstrip=bool(rstrip), single_word=bool(word), normalized=bool(normalized))])
    flags.add_tokens([AddedToken("<a>", normalized=False), AddedToken("<a><b>", normalized=False),
                      AddedToken("  ", normalized=False)])
    out["flags"] = (flags, [f"Tok{c}" for c in "ABCDEFGHIJKLMNOP"] + ["<a>", "<a><b>", "<b>"], False)

    unk = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    unk.normalizer = normalizers.Sequence([
        normalizers.NFD(), normalizers.StripAccents(), normalizers.Replace(Regex(r"\d+"), "#")])
    unk.pre_tokenizer = pre_tokenizers.Whitespace()
    unk.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=400, limit_alphabet=60, end_of_word_suffix="</w>", special_tokens=["[UNK]"],
        show_progress=False))
    unk.decoder = decoders.BPEDecoder()
    out["unk_suffix"] = (unk, ["[UNK]"], False)

    continuing = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True, continuing_subword_prefix="##"))
    continuing.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    continuing.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=400, limit_alphabet=60, continuing_subword_prefix="##", special_tokens=["[UNK]"],
        show_progress=False))
    out["continuing"] = (continuing, ["[UNK]"], False)

    # One vocabulary of bytes under every way to split.
    splits = {
        "removed": pre_tokenizers.Split(Regex(r"\s|\d"), "removed"),
        "isolated_inverted": pre_tokenizers.Split(Regex(r"\w+"), "isolated", invert=True),
        "previous": pre_tokenizers.Split(Regex(r"[\s.!]"), "merged_with_previous"),
        "next": pre_tokenizers.Split(" ", "merged_with_next"),
        "contiguous": pre_tokenizers.Split(Regex(r"[\p{P}\p{S}]"), "contiguous"),
        "empty_matches": pre_tokenizers.Split(Regex(r"(?=[A-Z\d])|\b"), "merged_with_next"),
        "removed_inverted": pre_tokenizers.Split("a", "removed", invert=True),
        "digits": pre_tokenizers.Digits(individual_digits=True),
        "digit_runs": pre_tokenizers.Digits(individual_digits=False),
        "punctuation": pre_tokenizers.Punctuation("contiguous"),
        "whitespace_split": pre_tokenizers.WhitespaceSplit(),
        "delimiter": pre_tokenizers.CharDelimiterSplit("e"),
    }
    base = json.loads(byte_level_bpe(text, 320).to_str())
    for name, split in splits.items():
        tokenizer = Tokenizer.from_str(json.dumps(base))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            split, pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)])
        out["split_" + name] = (tokenizer, [], False)

    first = Tokenizer.from_str(json.dumps(base))
    first.normalizer = normalizers.Strip(left=True, right=False)
    first.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("_", "first", False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    first.add_tokens([AddedToken("<x>", normalized=False)])
    out["metaspace_first"] = (first, ["<x>"], False)
    return out


def old_forms(data):
    """The same file as older versions wrote it."""
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    for part in ("pre_tokenizer", "decoder"):
        if data[part] and data[part]["type"] == "Metaspace":
            data[part] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    return data


def answer(tokenizer, text):
    ids = tokenizer.encode(text).ids
    out = {"ids": ids, "decoded": tokenizer.decode(ids)}
    plain = tokenizer.encode(text, add_special_tokens=False).ids
    if plain != ids:
        out["plain"] = plain
    kept = tokenizer.decode(ids, skip_special_tokens=False)
    if kept != out["decoded"]:
        out["kept"] = kept
    return out


def write_list(path, items):
    rows = ",\n".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in items)
    path.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


def char_class(pattern):
    """The ranges of characters that match, by asking about every one."""
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    ranges = []
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000 or split.pre_tokenize_str(chr(c)):
            continue
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    return ranges


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    target = root / "src/text/tokenizer/testdata"
    target.mkdir(parents=True, exist_ok=True)
    tokenizers = build(training_text(random.Random(1)))
    for name, (tokenizer, specials, old) in tokenizers.items():
        data = json.loads(tokenizer.to_str())
        if old:
            data = old_forms(data)
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        (target / f"{name}.tokenizer.json").write_text(text + "\n", encoding="utf-8")
        record(target, name, Tokenizer.from_str(text), specials, 0.2 if name.startswith("split") else 0.5)
    tiny = Tokenizer.from_file(str(root / "models/tiny-math/tokenizer.json"))
    record(target, "tiny-math", tiny, ["<|begin_of_text|>", "<|eot_id|>"], 0.4)
    classes = [r"\s", r"\S", r"\w", r"\W", r"\d", r"\h", r"[^\s\p{L}\p{N}]", r"\p{L}", r"\p{N}", r"\p{P}",
               r"\p{S}", r"\p{M}", r"\p{Lu}", r"\p{Ll}", r"\p{Han}", r"(?i:s)", r"(?i:[klm])", r"."]
    write_list(target / "regex.json", [{"pattern": p, "ranges": char_class(p)} for p in classes])


def record(target, name, tokenizer, specials, share):
    rng = random.Random(name)
    cases = [dict(text=t, **answer(tokenizer, t)) for t in texts(rng, specials) if rng.random() < share]
    cases += [dict(bytes=b.hex(), **answer(tokenizer, b.decode("utf-8", "replace")))
              for b in byte_texts(rng) if rng.random() < share * 0.5]
    write_list(target / f"{name}.cases.json", cases)
    size = tokenizer.get_vocab_size()
    decode = [{"ids": [], "decoded": tokenizer.decode([])}]
    for _ in range(60):
        low = rng.randrange(size)
        ids = [rng.randrange(low, min(size, low + 300)) for _ in range(rng.randint(1, 12))]
        row = {"ids": ids, "decoded": tokenizer.decode(ids)}
        kept = tokenizer.decode(ids, skip_special_tokens=False)
        if kept != row["decoded"]:
            row["kept"] = kept
        decode.append(row)
    write_list(target / f"{name}.decode.json", decode)


if __name__ == "__main__":
    main()
