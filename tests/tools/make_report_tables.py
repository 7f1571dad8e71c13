#!/usr/bin/env python3
"""Records what the tokenizers library (0.19.1) makes of every code point, for the tokenizer of reports.

    make_report_tables.py > sat/io/reports/character_tables.inc
    make_report_tables.py --blocks > tests/golden/reports/unicode_blocks.json

The tables hold NFKD where it is not NFD, what StripAccents removes, and the classes of the pre-tokenizers Whitespace
and Digits. The blocks hold what the whole chain (Lowercase, NFKD, StripAccents; Whitespace, Digits) makes of
"A" c "1": the SHA-256 of one line a code point, its words with spaces between; a surrogate's line is empty.
"""
import hashlib
import json
import sys

import tokenizers
from tokenizers import normalizers, pre_tokenizers

BLOCK = 4096
EVERY = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def ranges(code_points):
    out = []
    for c in code_points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def emit(comment, kind, name, items):
    print(f"\n// {comment}\nconstexpr {kind} {name}[] = {{")
    line = ""
    for item in items:
        if len(line) + len(item) > 119:
            print(line)
            line = ""
        line += item + ","
    print(line + "\n};")


def rows(values):
    return ["{" + ",".join(map(str, row)) + "}" for row in values]


def is_word(c):
    """\\w of the pre-tokenizer Whitespace: joined to the letter before."""
    return [word for word, _ in pre_tokenizers.Whitespace().pre_tokenize_str("a" + chr(c) + "!")][0] == "a" + chr(c)


def tables():
    nfkd, nfd, strip = normalizers.NFKD(), normalizers.NFD(), normalizers.StripAccents()
    digits = pre_tokenizers.Digits(individual_digits=False)
    runs, long, pool = [], [], []  # of single characters; others, as parts of the pool
    for c in EVERY:
        full = [ord(x) for x in nfkd.normalize_str(chr(c))]
        if full == [ord(x) for x in nfd.normalize_str(chr(c))]:
            continue
        if len(full) > 1:
            long.append([c, len(pool), len(full)])
            pool += full
        elif runs and runs[-1][1] == c - 1 and full[0] - runs[-1][2] == c - runs[-1][0]:
            runs[-1][1] = c
        else:
            runs.append([c, c, full[0]])
    print("// Made by tests/tools/make_report_tables.py; do not edit. Code points in decimal; ranges are [first, last].")
    print("// clang-format off")
    emit("\\w of the pre-tokenizer Whitespace.", "Range", "kWord", rows(ranges(c for c in EVERY if is_word(c))))
    emit("What the pre-tokenizer Digits keeps together.", "Range", "kNumeric",
         rows(ranges(c for c in EVERY if len(digits.pre_tokenize_str("1" + chr(c))) == 1)))
    emit("What StripAccents removes.", "Range", "kAccent",
         rows(ranges(c for c in EVERY if strip.normalize_str("a" + chr(c)) == "a")))
    emit("One character that NFKD and not NFD gives for another: first, last, what it gives for the first.", "OneRun",
         "kOne", rows(runs))
    emit("Several characters that NFKD and not NFD gives for one: that one, their place in kSeveralText, their number.",
         "Several", "kSeveral", rows(long))
    emit("What NFKD gives, one after the other.", "char32_t", "kSeveralText", map(str, pool))


def blocks():
    normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.NFKD(), normalizers.StripAccents()])
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=False)])
    hashes = []
    for start in range(0, 0x110000, BLOCK):
        lines = ""
        for c in range(start, start + BLOCK):
            if not 0xD800 <= c <= 0xDFFF:
                words = splitter.pre_tokenize_str(normalizer.normalize_str("A" + chr(c) + "1"))
                lines += " ".join(word for word, _ in words)
            lines += "\n"
        hashes.append(hashlib.sha256(lines.encode()).hexdigest()[:16])
    print(json.dumps({"block": BLOCK, "blocks": hashes}, indent=0))


assert tokenizers.__version__ == "0.19.1"
blocks() if sys.argv[1:] == ["--blocks"] else tables()
