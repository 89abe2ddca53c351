"""The transformer: MiniLM's layers, a channel vector on every token, and three heads."""

import numpy
import torch
from torch import nn
from torch.nn import functional as F

HIDDEN, HEADS, INNER = 384, 12, 1536
CHANNELS = ["system", "user", "untrusted", "output", "unknown"]
KINDS = ["direct", "indirect", "jailbreak", "extraction"]


def half():
    """Layers compute in bfloat16 where the processor can: elsewhere it is emulated, thirteen times slower than f32 on Zen 3."""
    able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast("cpu", torch.bfloat16, enabled=able)


# Of 256 values of a random byte, those that drop: about one in ten.
DROPPED = 26


class Drop:
    """Dropout by random bytes: torch draws a float for each value, which took a sixth of a step. One for all layers, so that each
    draws what no other has drawn."""

    def __init__(self):
        self.bits = numpy.random.SFC64(torch.initial_seed())

    def __call__(self, x, is_training):
        if not is_training:
            return x
        count = x.numel()
        drawn = self.bits.random_raw(count // 8 + 1).view("u1")[:count].reshape(x.shape)
        return x * (torch.from_numpy(drawn) >= DROPPED) * (256 / (256 - DROPPED))


# What is added to the score of padding.
NEVER = -1e4


def attend(q, k, v, mask):
    """Attention in plain products: the way back through torch's own kernel took two fifths of a step."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + mask
    return torch.softmax(scores, -1, dtype=scores.dtype) @ v


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
        self.up, self.down = nn.Linear(HIDDEN, INNER), nn.Linear(INNER, HIDDEN)
        self.norm1, self.norm2 = nn.LayerNorm(HIDDEN, eps=1e-12), nn.LayerNorm(HIDDEN, eps=1e-12)

    def forward(self, x, mask, drop):
        n, length, _ = x.shape
        split = lambda y: y.view(n, length, HEADS, HIDDEN // HEADS).transpose(1, 2)
        a = attend(split(self.q(x)), split(self.k(x)), split(self.v(x)), mask)
        a = self.o(a.transpose(1, 2).reshape(n, length, HIDDEN))
        x = self.norm1(x + drop(a, self.training))
        return self.norm2(x + drop(self.down(F.gelu(self.up(x))), self.training))


class Detector(nn.Module):
    """`window`: logits of attack and of the four kinds; `token`: a logit for each token, whether it is part of a payload."""

    def __init__(self, vocabulary, layers):
        super().__init__()
        self.words = nn.Embedding(vocabulary, HIDDEN)
        self.positions = nn.Embedding(128, HIDDEN)
        self.channel = nn.Embedding(len(CHANNELS), HIDDEN)
        self.drop = Drop()
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.window, self.token = nn.Linear(3 * HIDDEN, 1 + len(KINDS)), nn.Linear(HIDDEN, 1)
        nn.init.zeros_(self.channel.weight)
        for head in (self.window, self.token):
            nn.init.normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)

    def forward(self, ids, channel, real):
        """ids [n, length]; channel [n]; real [n, length] is False on padding."""
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.channel(channel)[:, None]
        x = self.drop(self.norm(x), self.training)
        mask = torch.zeros(real.shape, dtype=torch.bfloat16).masked_fill(~real, NEVER)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask, self.drop)
        x = x.float()
        content = real.clone()
        content[:, 0] = False
        content[torch.arange(len(ids)), real.sum(1) - 1] = False
        counts = content.sum(1, keepdim=True).clamp(min=1)
        mean = (x * content[..., None]).sum(1) / counts
        top = x.masked_fill(~content[..., None], -1e4).amax(1)
        pooled = torch.cat([x[:, 0], mean, top], 1)
        with torch.autocast("cpu", enabled=False):
            return self.window(pooled), self.token(x)[..., 0]


def pretrained(model, weights, keep):
    """Puts the base's rows and the layers named by `keep` into the model (words stay as they are)."""
    get = lambda name: weights[name].float()
    embed = "embeddings."
    with torch.no_grad():
        model.positions.weight.copy_(get(embed + "position_embeddings.weight")[:128] + get(embed + "token_type_embeddings.weight")[0])
        model.norm.weight.copy_(get(embed + "LayerNorm.weight"))
        model.norm.bias.copy_(get(embed + "LayerNorm.bias"))
        for layer, at in zip(model.layers, keep, strict=True):
            names = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", "o": "attention.output.dense",
                     "up": "intermediate.dense", "down": "output.dense", "norm1": "attention.output.LayerNorm", "norm2": "output.LayerNorm"}
            for ours, theirs in names.items():
                for side in ("weight", "bias"):
                    getattr(getattr(layer, ours), side).copy_(get(f"encoder.layer.{at}.{theirs}.{side}"))
