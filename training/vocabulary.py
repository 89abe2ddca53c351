"""The vocabulary: BERT's English pieces, and pieces for other languages in its unused rows and behind them.

New pieces are the words of data/glossary (each with its English meaning, from which its row starts), frequent words and
strings of the training rows that BERT's pieces cut into crumbs, and single letters that it lacks.
"""

import collections
import pathlib
import re
import unicodedata

UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
WORD = re.compile(r"[^\W_]+", re.UNICODE)
DROPPED = re.compile("[\u0300-\u036f\u0591-\u05c7\u0640\u064b-\u0652\u0670\u200b-\u200f\ufeff]")
MARKS = "".join(chr(c) for c in range(0x900, 0x1200) if unicodedata.category(chr(c)) in ("Mn", "Mc"))
SPACED = re.compile(r"(?:[^\W_]|[" + MARKS + r"])+", re.UNICODE)


def fold(text):
    """As the tokenizer folds: lower case; accents, points and joiners off."""
    out = []
    for letter in text.lower():
        if "\u0080" <= letter <= "\u052f" or "\u1e00" <= letter <= "\u1fff":
            letter = unicodedata.normalize("NFD", letter)
        out.append(letter)
    return DROPPED.sub("", "".join(out))


def glossary(folder):
    """{folded word: English} of every language."""
    meanings = {}
    for path in sorted(pathlib.Path(folder).glob("*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            word, _, english = line.partition("\t")
            word = fold(word.strip())
            if word and english.strip() and " " not in word:
                meanings.setdefault(word, english.strip().lower())
    return meanings


def build(base, texts, meanings, most):
    """The pieces in the order of their ids. `base`: BERT's lines; `most`: pieces in all."""
    known = set(base)
    words, strings = collections.Counter(), collections.Counter()
    for text in texts:
        folded = fold(text)
        for run in UNSPACED.findall(folded):
            seen = {run[i:i + n] for n in (1, 2, 3, 4) for i in range(len(run) - n + 1)}
            strings.update(seen)
        words.update(set(SPACED.findall(UNSPACED.sub(" ", folded))))
    letters = {letter for text in list(words) + list(strings) for letter in text}
    chosen = []

    def take(piece):
        if piece not in known:
            known.add(piece)
            chosen.append(piece)

    for word in meanings:
        take(word)
    for letter in sorted(letters):
        if ord(letter) > 0x24f:
            take(letter)
            if not UNSPACED.match(letter):
                take("##" + letter)
    scored = []
    for word, count in words.items():
        foreign = any(ord(letter) > 0x7f for letter in word)
        if count >= (3 if foreign else 6) and 1 < len(word) <= 16 and not word.isdigit() and word not in known:
            scored.append((count * (2 if foreign else 1), word))
    for string, count in strings.items():
        if count >= 6 and len(string) > 1:
            scored.append((count, string))
    endings = collections.Counter()
    for word, count in words.items():
        if ord(word[-1]) > 0x24f:
            for n in (2, 3, 4):
                if len(word) > n + 1:
                    endings["##" + word[-n:]] += 1
    scored += [(count / 2, ending) for ending, count in endings.items() if count >= 8]
    for _, piece in sorted(scored, key=lambda pair: (-pair[0], pair[1])):
        if len(base) - 994 + len(chosen) >= most:
            break
        take(piece)
    lines, fresh = list(base), iter(chosen)
    for at, piece in enumerate(lines):
        if re.fullmatch(r"\[unused\d+\]", piece):
            lines[at] = next(fresh, piece)
    return lines + list(fresh)
