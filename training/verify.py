"""What int8 costs: a checkpoint in f32 against the file that was made of it and is embedded, on rows of part "dev".

Texts whose plain form says something else are left out, so that both read the same windows: what differs is the rounding of
weights and activations. (That all instruction sets give the same bits is a test of the crate.)
"""

import argparse
import pathlib

import numpy
import torch

import calibrate
import measure
import network
import rows as data
import windows

# Windows of a text that `measure.score` reads.
MOST = 24


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=pathlib.Path, help="folder with model.pt and vocab.txt")
    parser.add_argument("--shared", type=pathlib.Path, required=True)
    parser.add_argument("--written", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    parser.add_argument("--tokenise", type=pathlib.Path, required=True)
    parser.add_argument("--logits", type=pathlib.Path, required=True, help="the logits example, built with the file of the checkpoint")
    parser.add_argument("--every", type=int, default=8, help="one row in so many")
    options = parser.parse_args()
    state = torch.load(options.checkpoint / "model.pt")
    model = network.Detector(len(state["words.weight"]), 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers.")))
    model.load_state_dict(state)
    rows = data.parts(data.load(options.shared, options.written))["dev"][:: options.every]
    said = calibrate.logits(options.logits, rows)
    alike = [at for at, one in enumerate(said) if len(one["forms"]) == 1 and one["forms"][0][1] <= MOST]
    rows, whole = [rows[at] for at in alike], numpy.array([said[at]["forms"][0][0] for at in alike])
    found = windows.pieces(options.tokenise, options.checkpoint / "vocab.txt", [row["text"] for row in rows])
    exact = measure.score(model, [{**row, "pieces": one} for row, one in zip(rows, found, strict=True)])
    apart = numpy.abs(whole - exact)
    labels = numpy.array([row["label"] for row in rows])
    print(f"{len(rows)} rows: logits differ by {apart.mean():.3f} on average, {numpy.quantile(apart, 0.99):.3f} in one of a hundred, {apart.max():.3f} at most; "
          f"correlation {numpy.corrcoef(whole, exact)[0, 1]:.4f}; AUC int8 {measure.auc(labels, whole):.4f}, f32 {measure.auc(labels, exact):.4f}")


if __name__ == "__main__":
    main()
