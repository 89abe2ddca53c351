"""The vocabulary: BERT's English pieces, other languages' words on the rows of their English meanings, and new pieces.

A line is a row: the piece, and behind tabs other words that share it. A word of data/glossary whose meaning is one English
piece shares that piece's row, so what training learns in one language holds in all. Words with longer meanings, frequent
strings that BERT's pieces cut into crumbs, and letters that it lacks get rows of their own. BERT's unused rows, and those of
its pieces that hardly a training text has, make room for them.
"""

import collections
import pathlib
import re
import unicodedata

UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
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
    """{folded word: English} of every language; the first meaning stands."""
    meanings = {}
    for path in sorted(pathlib.Path(folder).glob("*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            word, _, english = line.partition("\t")
            word = fold(word.strip())
            english = re.sub(r"\(.*?\)", "", english).strip().lower()
            if word and english and not re.search(r"[\W_]", word.translate({ord(mark): "" for mark in MARKS})):
                meanings.setdefault(word, english)
    return meanings


def counts(texts):
    """In how many texts each spaced word, each short string of unspaced scripts, each letter, each ending occurs."""
    words, strings = collections.Counter(), collections.Counter()
    for text in texts:
        folded = fold(text)
        for run in UNSPACED.findall(folded):
            strings.update({run[i:i + n] for n in (1, 2, 3, 4) for i in range(len(run) - n + 1)})
        words.update(set(SPACED.findall(UNSPACED.sub(" ", folded))))
    letters, endings = collections.Counter(), collections.Counter()
    for word, count in words.items():
        for letter in set(word) if len(word) < 20 else ():
            letters[letter] += count
        if ord(word[-1]) > 0x24F:
            for n in (2, 3, 4):
                if len(word) > n + 1:
                    endings["##" + word[-n:]] += 1
    for string, count in strings.items():
        if len(string) == 1:
            letters[string] += count
    return words, strings, letters, endings


def plain_letter(letter):
    """Not a letter's costume (mathematical, full-width …): those are taken off before."""
    return ord(letter) > 0x24F and not unicodedata.decomposition(letter).startswith("<")


# Rows that stay where they are: BERT's marks, whose ids the tokenizer knows.
FIXED = 104
# A piece of BERT's that fewer training texts have gives its row away.
SELDOM = 3


def build(base, used, texts, meanings, most):
    """The lines in the order of their ids. `base`: BERT's lines; `used`: in how many texts each occurs; `most`: rows in all."""
    words, strings, letters, endings = counts(texts)
    english = {meaning for meaning in meanings.values()}
    unused = [re.fullmatch(r"\[unused\d+\]", piece) is not None for piece in base]
    kept = [not unused[at] and (at < FIXED or used[at] >= SELDOM or piece in english or len(piece.removeprefix("##")) == 1 and piece.isascii())
            for at, piece in enumerate(base)]
    where = {piece: at for at, piece in enumerate(base) if kept[at]}
    known = set(where)
    chosen, shared = [], collections.defaultdict(list)

    def take(piece):
        if piece not in known:
            known.add(piece)
            chosen.append(piece)

    for word, english in meanings.items():
        if english in where and word not in known:
            known.add(word)
            shared[where[english]].append(word)
    for word in meanings:
        take(word)
    for letter, count in sorted(letters.items()):
        if plain_letter(letter) and count > 1:
            take(letter)
            if not UNSPACED.match(letter) and (count > 9 or not "\uac00" <= letter <= "\ud7a3"):
                take("##" + letter)
    scored = []
    for word, count in words.items():
        foreign = any(ord(letter) > 0x7F for letter in word)
        if count >= (3 if foreign else 6) and 1 < len(word) <= 16 and not word.isdigit():
            scored.append((count * (2 if foreign else 1), word))
    scored += [(count, string) for string, count in strings.items() if count >= 6 and len(string) > 1]
    scored += [(count / 2, ending) for ending, count in endings.items() if count >= 8]
    for _, piece in sorted(scored, key=lambda pair: (-pair[0], pair[1])):
        if sum(kept) + len(chosen) >= most:
            break
        take(piece)
    fresh = iter(chosen)
    lines = [piece if kept[at] else next(fresh, piece if at < FIXED else None) for at, piece in enumerate(base)]
    lines = ["\t".join([line, *shared[at]]) if at in shared else line for at, line in enumerate(lines)]
    return [line for line in [*lines, *fresh] if line is not None]
