"""The shipped int8 file back to a checkpoint that a round can go on from: `restore.py MODEL OUT`.

What `quantise.py` rounded stays rounded: a weight is off by half a step of its row at most.
"""

import argparse
import pathlib

import torch
from safetensors import safe_open


def state(path):
    """The model's state from encoder.safetensors."""
    with safe_open(path, "pt") as file:
        parts = {name: file.get_tensor(name) for name in file.keys()}
    whole = lambda name: parts[name].float() * parts[name.removesuffix(".weight") + ".scale"][:, None]
    out = {"words.weight": whole("embed.words"), "positions.weight": parts["embed.positions"], "channel.weight": parts["embed.channel"]}
    for side in ("weight", "bias"):
        out[f"norm.{side}"] = parts[f"embed.norm.{side}"]
        out[f"window.{side}"] = parts[f"head.window.{side}"]
        out[f"token.{side}"] = parts[f"head.token.{side}"].reshape((1, -1) if side == "weight" else (-1,))
    for name, part in parts.items():
        if name.startswith("layer.") and not name.endswith(".scale"):
            out[name.replace("layer.", "layers.", 1)] = whole(name) if part.dtype == torch.int8 else part
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path, help="folder with encoder.safetensors and vocab.txt")
    parser.add_argument("out", type=pathlib.Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.save(state(options.model / "encoder.safetensors"), options.out / "model.pt")
    (options.out / "vocab.txt").write_text((options.model / "vocab.txt").read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
