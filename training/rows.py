"""Training rows: read from the shared data and from data/, brought to one form, and split.

A row is a dict: text, label (1 attack, 0 benign), kind, channel (system, user, untrusted), lang, source, and where known
span (bytes of the text that hold the payload or the harmless insertion), role (payload, insertion), pair.

The split is by source and by pair, never by row: rows of the sources in DEV and TEST, and of one pair in six of what was
written by hand, are never trained on. DEV chooses (checkpoints, thresholds); TEST is only reported. A row of either whose text
stands in a row of training too, as all of it or as its payload, is left out: public sets copy from one another.
"""

import gzip
import hashlib
import json
import pathlib

DEV_SOURCES = {"lakera/gandalf", "yanismiraoui", "tau-bench-user", "oasst", "self-instruct-user"}
TEST_SOURCES = {"oubliette", "hinglish", "jackhhao/jailbreak", "protectai/validation", "awesome-chatgpt-prompts", "tau-bench-tool"}

UNTRUSTED = {"compose", "clean", "llmail-inject", "xquad-paragraph", "own-email", "tau-bench-tool", "gpteacher-codegen-answer"}
SYSTEM = {"system-prompts", "tau-bench-policy", "bfcl-tools"}


def channel_of(row):
    """The channel of a row that does not name its own, by where it came from."""
    source = row["source"]
    family = source.split("/")[0]
    if row["kind"] == "indirect" or family in UNTRUSTED or family.startswith("compose"):
        return "untrusted"
    if family in SYSTEM:
        return "system"
    return "user"


def read(path):
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")
    with opened as lines:
        return [json.loads(line) for line in lines if line.strip()]


def finish(row, name):
    """Fills in what a row leaves open."""
    row.setdefault("source", f"written-{name}")
    row["hand"] = row["source"].startswith(("authored-", "written-"))
    row.setdefault("channel", channel_of(row))
    text = row["text"]
    if row.get("attack"):
        start = text.index(row["attack"])
        row["span"] = [start, start + len(row["attack"])]
    if row.get("span"):
        start, end = row["span"]
        row["span"] = [len(text[:start].encode()), len(text[:end].encode())]
    return row


def load(shared, written):
    """All rows of the folder of shared data and of the folder of our own."""
    shared, written = pathlib.Path(shared), pathlib.Path(written)
    files = sorted(shared.glob("train/*.jsonl.gz")) + sorted(shared.glob("authored/*.jsonl")) + sorted(written.glob("*.jsonl"))
    rows, seen = [], set()
    for path in files:
        for row in read(path):
            row = finish(row, path.name.split(".")[0])
            key = (row["text"], row["channel"])
            if key not in seen:
                seen.add(key)
                rows.append(row)
    return rows


def parts(rows):
    """The rows of train, dev and test."""
    split = {"train": [], "dev": [], "test": []}
    for row in rows:
        split[part(row)].append(row)
    plain = lambda text: " ".join(text.lower().split())
    seen = set()
    for row in split["train"]:
        seen.add(plain(row["text"]))
        if row["label"] and row.get("span"):
            start, end = row["span"]
            seen.add(plain(row["text"].encode()[start:end].decode()))
    return {name: held if name == "train" else [row for row in held if plain(row["text"]) not in seen] for name, held in split.items()}


def part(row):
    """Where a row belongs: train, dev or test."""
    if row["source"] in DEV_SOURCES:
        return "dev"
    if row["source"] in TEST_SOURCES:
        return "test"
    if not row["hand"]:
        return "train"
    name = row["source"] + "/" + (row.get("pair") or row["text"])
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 100
    return "dev" if number < 8 else "test" if number < 16 else "train"
