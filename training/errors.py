"""What a checkpoint gets wrong on rows that it never trained on: the benign rows it fears most, the attacks it misses."""

import argparse
import pathlib

import numpy
import torch

import measure
import network
import rows as data
import windows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--shared", type=pathlib.Path, required=True)
    parser.add_argument("--written", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    parser.add_argument("--tokenise", type=pathlib.Path, required=True)
    parser.add_argument("--part", default="dev")
    parser.add_argument("--fresh", action="store_true", help="take hand-written rows of every part (of files that the checkpoint never saw)")
    parser.add_argument("--most", type=int, default=40)
    options = parser.parse_args()
    vocabulary = options.checkpoint / "vocab.txt"
    state = torch.load(options.checkpoint / "model.pt")
    model = network.Detector(len(state["words.weight"]), 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers.")))
    model.load_state_dict(state)
    rows = data.load(options.shared, options.written)
    if options.fresh:
        rows = [row for row in rows if row["source"].startswith("written-")]
    else:
        rows = data.parts(rows)[options.part]
    for row, cut in zip(rows, windows.pieces(options.tokenise, vocabulary, [row["text"] for row in rows]), strict=True):
        row["pieces"] = cut
    scores = measure.score(model, rows)
    line, tables, at = measure.figures(rows, scores)
    print(line, *tables, at, sep="\n")
    for label, order in ((0, numpy.argsort(-scores)), (1, numpy.argsort(scores))):
        print("--- benign, feared" if label == 0 else "--- attacks, missed")
        for i in [i for i in order if rows[i]["label"] == label][: options.most]:
            text = rows[i]["text"].replace("\n", "\\n")
            print(f"{scores[i]:6.2f} {rows[i]['source']} {rows[i]['channel']} {rows[i]['lang']} | {text[:220]}")


if __name__ == "__main__":
    main()
