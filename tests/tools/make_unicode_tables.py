#!/usr/bin/env python3
"""Writes sat/io/words/unicode_tables.inc from recorded facts.

    make_unicode_tables.py unicode_tables.json > sat/io/words/unicode_tables.inc

unicode_tables.json holds what the reference tokenizer library does with every code point (Unicode 8.0 categories, 9.0
decompositions, 14.0 lower case). The two tables that only whole-word lower-casing needs (which characters are cased,
which are ignored when looking for the end of a word) are read off this interpreter's str.lower, which must be 14.0's.
"""
import json
import sys
import unicodedata

SIGMA, FINAL_SIGMA = "\u03a3", "\u03c2"


def ranges(code_points):
    out = []
    for c in sorted(code_points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def lower_runs(rows):
    """[c, lower] pairs as [first, last, stride, lower of first]: within a run both sides step by the stride."""
    out = []
    for c, lower in rows:
        if out:
            first, last, stride, to = out[-1]
            step = c - last
            if lower - to == c - first and (step == stride or (first == last and step <= 2)):
                out[-1] = [first, c, step, to]
                continue
        out.append([c, c, 1, lower])
    return out


def one_step(row):
    """The pair or single that [c, full decomposition ...] starts with; applied again and again it gives the whole."""
    c, full = row[0], row[1:]
    step = [int(x, 16) for x in unicodedata.decomposition(chr(c)).split()]
    assert len(step) <= 2 and unicodedata.normalize("NFD", chr(c)) == "".join(map(chr, full)), hex(c)
    return [c] + step


def emit(comment, kind, name, rows):
    print(f"\n// {comment}\nconstexpr {kind} {name}[] = {{")
    line = ""
    for row in rows:
        item = "{" + ",".join(row) + "},"
        if len(line) + len(item) > 120:
            print(line)
            line = ""
        line += item
    print(line + "\n};")


def numbers(values):
    return [str(v) for v in values]


def main():
    assert unicodedata.unidata_version == "14.0.0", "needs Python 3.11, whose str.lower is Unicode 14.0's"
    table = json.load(open(sys.argv[1]))
    every = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    single = [(row[0], row[1]) for row in table["lowercase"] if len(row) == 2]
    assert [row for row in table["lowercase"] if len(row) > 2] == [[0x130, 0x69, 0x307]]
    lower = {row[0]: "".join(map(chr, row[1:])) for row in table["lowercase"]}
    for c in every:
        assert chr(c).lower() == lower.get(c, chr(c)), hex(c)
    cased = {c for c in every if (chr(c) + SIGMA).lower()[-1] == FINAL_SIGMA}
    ignorable = {c for c in every if ("A" + chr(c) + SIGMA).lower()[-1] == FINAL_SIGMA} - cased

    print("// Made by tests/tools/make_unicode_tables.py; do not edit. Code points in decimal; ranges are [first, last].")
    print("// clang-format off")
    for key, name, what in [
        ("dropped", "kDropped", "Removed before anything else: U+0000, U+FFFD, controls, formats, private use."),
        ("space", "kSpace", "Become U+0020."),
        ("cjk", "kCjk", "Ideographs that are words of their own."),
        ("mark", "kMark", "Removed after decomposition (category Mn of Unicode 8.0)."),
        ("punctuation", "kPunctuation", "Words of their own after lower-casing (ASCII signs and categories P* of 8.0)."),
    ]:
        emit(what, "Range", name, [numbers(r) for r in table[key]])
    emit("Canonical combining classes other than 0 (Unicode 9.0): first, last, class.", "ClassRange", "kCombiningClass",
         [numbers(r) for r in table["combining_class"]])
    emit("Canonical decompositions (Unicode 9.0), one step of them, without Hangul syllables.", "Decomposition",
         "kDecomposition", [numbers(one_step(row)) for row in table["decomposition"]])
    emit("Lower case of single characters (Unicode 14.0): first, last, stride, lower case of the first.", "LowerRun",
         "kLower", [numbers(r) for r in lower_runs(single)])
    emit("Cased characters that end a run of ignorable ones (Unicode 14.0).", "Range", "kCased",
         [numbers(r) for r in ranges(cased)])
    emit("Characters that the search for a word's end passes over (Unicode 14.0).", "Range", "kCaseIgnorable",
         [numbers(r) for r in ranges(ignorable)])


main()
