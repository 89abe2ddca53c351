"""A trained checkpoint to the file that the binary embeds: int8 matrices with a scale for each row, the rest in f32.

Weights stay within +-63, so that pairs of products with unsigned 8-bit activations never saturate the 16-bit sums of
processors without VNNI: the same integers come out everywhere.
"""

import argparse
import pathlib

import torch
from safetensors.torch import save_file

from network import CHANNELS

MOST = {"weights": 63, "words": 127}


def rows8(matrix, most):
    """Symmetric int8 by row: the matrix and its scales. The step of each row is the one of 24 that errs least."""
    top = matrix.abs().amax(1).clamp(min=1e-8)
    best, scales = torch.full_like(top, torch.inf), top / most
    for shrink in torch.linspace(1.0, 0.7, 24):
        scale = top * shrink / most
        whole = (matrix / scale[:, None]).round().clamp(-most, most)
        error = ((whole * scale[:, None] - matrix) ** 2).sum(1)
        better = error < best
        best, scales = torch.where(better, error, best), torch.where(better, scale, scales)
    return (matrix / scales[:, None]).round().clamp(-most, most).to(torch.int8), scales


def tensors(state):
    """The file's tensors from a model's state."""
    out = {}
    out["embed.words"], out["embed.words.scale"] = rows8(state["words.weight"], MOST["words"])
    out["embed.positions"], out["embed.channel"] = state["positions.weight"], state["channel.weight"]
    assert out["embed.channel"].shape[0] == len(CHANNELS)
    for side in ("weight", "bias"):
        out[f"embed.norm.{side}"] = state[f"norm.{side}"]
        out[f"head.window.{side}"], out[f"head.token.{side}"] = state[f"window.{side}"], state[f"token.{side}"].reshape(-1)
    layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
    for at in range(layers):
        for part in ("q", "k", "v", "o", "up", "down"):
            name = f"layers.{at}.{part}"
            whole, scale = rows8(state[name + ".weight"], MOST["weights"])
            out[f"layer.{at}.{part}.weight"], out[f"layer.{at}.{part}.scale"] = whole, scale
            out[f"layer.{at}.{part}.bias"] = state[name + ".bias"]
        for norm in ("norm1", "norm2"):
            for side in ("weight", "bias"):
                out[f"layer.{at}.{norm}.{side}"] = state[f"layers.{at}.{norm}.{side}"]
    return {name: part.contiguous() for name, part in out.items()}, layers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=pathlib.Path, help="folder with model.pt and vocab.txt")
    parser.add_argument("out", type=pathlib.Path, help="folder for encoder.safetensors and vocab.txt")
    options = parser.parse_args()
    parts, layers = tensors(torch.load(options.checkpoint / "model.pt"))
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(parts, options.out / "encoder.safetensors", {"format": "1", "layers": str(layers), "heads": "12"})
    (options.out / "vocab.txt").write_text((options.checkpoint / "vocab.txt").read_text(encoding="utf-8"), encoding="utf-8")
