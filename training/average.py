"""The mean of several rounds' weights: `average.py OUT ROUND OTHER…`. Of two it erred less than either (see the model card).

Rows of the word table are matched by their pieces, as each round makes its own vocabulary; ROUND's is kept.
"""

import argparse
import pathlib

import torch


def pieces(folder):
    return (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()


def on_vocabulary(state, lines, kept, table):
    """The state with its word table in the order of `kept`; of a piece that it lacks, the row of `table`."""
    where = {piece: at for at, line in reversed(list(enumerate(lines))) for piece in reversed(line.split("\t"))}
    words = table.clone()
    for at, line in enumerate(kept):
        found = where.get(line.split("\t")[0])
        if found is not None:
            words[at] = state["words.weight"][found]
    return {**state, "words.weight": words}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("round", type=pathlib.Path)
    parser.add_argument("others", type=pathlib.Path, nargs="+")
    options = parser.parse_args()
    kept, first = pieces(options.round), torch.load(options.round / "model.pt")
    states = [first] + [on_vocabulary(torch.load(other / "model.pt"), pieces(other), kept, first["words.weight"]) for other in options.others]
    options.out.mkdir(parents=True, exist_ok=True)
    torch.save({name: sum(state[name] for state in states) / len(states) for name in first}, options.out / "model.pt")
    (options.out / "vocab.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
