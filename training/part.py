"""Writes the rows of one part of the split: `part.py OUT [--shared DIR] [--part test]`.

"test" and "dev" are what training never sees, for `sallyport inspect --eval`; "train" is what the linear stage is trained on.
Without the shared data (it is not part of this repository) only rows of data/ are written.
"""

import argparse
import json
import pathlib

import rows as data


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--shared", type=pathlib.Path, default=pathlib.Path(__file__).parent / "../../shared/data/injection")
    parser.add_argument("--written", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    parser.add_argument("--part", choices=["train", "dev", "test"], default="test")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # Spans are of bytes here, and of characters in files.
    characters = lambda row, byte: len(row["text"].encode()[:byte].decode())
    fields = ("text", "label", "kind", "source", "lang", "channel", "role")
    count = 0
    with open(options.out, "w", encoding="utf-8") as out:
        for row in data.parts(data.load(options.shared, options.written))[options.part]:
            made = {name: row[name] for name in fields if name in row}
            if row.get("span"):
                made["span"] = [characters(row, byte) for byte in row["span"]]
            out.write(json.dumps(made, ensure_ascii=False) + "\n")
            count += 1
    if not (options.shared / "train").is_dir():
        print(f"{options.shared} is not there: without the shared data (SHARED=…) these are the hand-written rows only")
    print(f"{count} rows of part {options.part} in {options.out}")


if __name__ == "__main__":
    main()
