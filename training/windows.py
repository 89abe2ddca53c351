"""Rows to windows of pieces: what one forward pass reads, with its label, weight and token labels."""

import json
import struct
import subprocess

import numpy

OPEN, CLOSE, UNKNOWN = 101, 102, 100
WIDTH, STRIDE = 126, 63
CHANNEL = {"system": 0, "user": 1, "untrusted": 2, "output": 3, "unknown": 4}
KIND = {"direct": 1, "indirect": 2, "jailbreak": 3, "extraction": 4}


def pieces(tool, vocabulary, texts, plain=False):
    """For each text an array [n, 3] of piece, first byte, byte after; None where the plain form is the text itself."""
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    command = [str(tool), str(vocabulary)] + (["--normalise"] if plain else [])
    data = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout
    out, at = [], 0
    for _ in texts:
        (count,) = struct.unpack_from("<I", data, at)
        at += 4
        if count == 0xFFFFFFFF:
            out.append(None)
            continue
        out.append(numpy.frombuffer(data, "<u4", 3 * count, at).reshape(count, 3).astype("i4"))
        at += 12 * count
    return out


def starts(length):
    """Where the windows of a text of that many pieces begin: every STRIDE, the last one flush with the end."""
    if length <= WIDTH:
        return [0]
    return [*range(0, length - WIDTH, STRIDE), length - WIDTH]


def window(row, cut, start, label, weight):
    stop = min(start + WIDTH, len(cut))
    tokens = None
    if label and row.get("span") and cut is row["pieces"]:
        first, last = row["span"]
        tokens = ((cut[start:stop, 1] < last) & (cut[start:stop, 2] > first)).astype("f4")
    elif not label:
        tokens = numpy.zeros(stop - start, "f4")
    return {"ids": cut[start:stop, 0], "channel": CHANNEL[row["channel"]], "label": label, "kind": KIND.get(row["kind"], 0) if label else 0,
            "weight": weight, "tokens": tokens}


# Windows of a clean text that an epoch sees: of one written by hand more, as there are few that are long.
MOST, MOST_WRITTEN = 2, 8


def draw(random, row):
    """Windows of one row for one epoch."""
    most = MOST_WRITTEN if row["hand"] else MOST
    cut = row["pieces"]
    length = len(cut)
    if length == 0:
        return []
    if length <= WIDTH:
        return [window(row, cut, 0, row["label"], 1.0)]
    free = lambda: random.randrange(length - WIDTH + 1)
    if not row["label"]:
        if row.get("span"):
            touched = [i for i in range(length) if cut[i, 1] < row["span"][1] and cut[i, 2] > row["span"][0]]
            if touched:
                near = max(0, min(length - WIDTH, touched[0] - random.randrange(max(1, WIDTH - len(touched)))))
                return [window(row, cut, near, 0, 1.0), window(row, cut, free(), 0, 0.5)]
        return [window(row, cut, start, 0, 1.0) for start in {free() for _ in range(min(most, 1 + length // WIDTH))}]
    if not row.get("span"):
        made = [window(row, cut, 0, 1, 1.0)]
        if random.random() < 0.5:
            made.append(window(row, cut, free(), 1, 0.3))
        return made
    touched = [i for i in range(length) if cut[i, 1] < row["span"][1] and cut[i, 2] > row["span"][0]]
    if not touched:
        return []
    first, size = touched[0], len(touched)
    low, high = max(0, first + min(size, WIDTH) - WIDTH), min(first, length - WIDTH)
    made = [window(row, cut, random.randint(min(low, high), high), 1, 1.0)]
    apart = [start for start in starts(length) if start + WIDTH <= first or start >= first + size]
    if apart:
        missed = window(row, cut, random.choice(apart), 0, 0.7)
        made.append(missed)
    return made


def batches(random, windows, tokens):
    """Windows of like length together, `tokens` pieces (padding included) a batch, in random order."""
    order = sorted(windows, key=lambda one: len(one["ids"]) + random.random() * 4)
    made, batch = [], []
    for one in order:
        if batch and (len(batch) + 1) * (len(one["ids"]) + 2) > tokens:
            made.append(batch)
            batch = []
        batch.append(one)
    if batch:
        made.append(batch)
    random.shuffle(made)
    return made


def arrays(batch):
    """ids, channels, which are real, labels, kinds, weights, token labels and their weights."""
    length = max(len(one["ids"]) for one in batch) + 2
    n = len(batch)
    ids, real = numpy.zeros((n, length), "i8"), numpy.zeros((n, length), bool)
    marks, known = numpy.zeros((n, length), "f4"), numpy.zeros((n, length), "f4")
    for i, one in enumerate(batch):
        size = len(one["ids"])
        ids[i, 0], ids[i, 1:size + 1], ids[i, size + 1] = OPEN, one["ids"], CLOSE
        real[i, :size + 2] = True
        if one.get("tokens") is not None:
            marks[i, 1:size + 1], known[i, 1:size + 1] = one["tokens"], 1
    column = lambda name, kind: numpy.array([one.get(name, 0) for one in batch], kind)
    return ids, column("channel", "i8"), real, column("label", "f4"), column("kind", "i8"), column("weight", "f4"), marks, known


