"""Trains the transformer. One round: `train.py OUT --shared DIR [--from CHECKPOINT] …`; `make train` runs all of them."""

import argparse
import collections
import pathlib
import random
import time

import numpy
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import compose
import measure
import network
import rows as data
import vocabulary
import windows

# Rows of one source that an epoch sees at most: templated sources would drown the others.
CAPS = collections.defaultdict(lambda: 1500, {
    ("s-labs", 1): 1200, ("s-labs", 0): 1800, ("llmail-inject", 1): 900, ("satml-ctf-2024", 1): 1600, ("neuralchemy-core", 1): 1300,
    ("neuralchemy-core", 0): 1300, ("own-request", 0): 800, ("own-email", 0): 600, ("xquad-question", 0): 1500, ("mgsm", 0): 700,
    ("clean", 0): 3000, ("compose-harmless", 0): 1500, ("compose-asb", 1): 700, ("compose-own", 1): 1200, ("compose-bipia", 1): 1200,
    ("compose-bipia-code", 1): 400, ("compose-short", 1): 900, ("compose-multilingual", 1): 900})


def mixture(draw, rows, shares, times):
    """The rows of one epoch: hand-written rows in full, shared sources up to their cap times the share of their label."""
    groups = collections.defaultdict(list)
    for row in rows:
        groups[(row["source"].split("/")[0], row["label"])].append(row)
    chosen = []
    for key, group in sorted(groups.items()):
        if group[0]["hand"]:
            chosen += [row for row in group if not row.get("role")] * times
            chosen += [row for row in group if row.get("role")]
        else:
            cap = min(len(group), int(CAPS[key] * shares[key[1]]))
            chosen += draw.sample(group, cap)
            if group[0]["kind"] == "jailbreak":
                chosen += group
    return chosen


# Shared sources whose attack labels were given by rule or by crowds: some of their rows are harmless sentences.
DOUBTFUL = {"neuralchemy-core", "s-labs", "satml-ctf-2024", "trustai", "in-the-wild", "yanismiraoui"}


def without_doubtful(model, rows, below):
    """Leaves out attacks of doubtful sources that the round before, trained on them, still takes for harmless."""
    asked = [row for row in rows if row["label"] and row["source"].split("/")[0] in DOUBTFUL]
    scores = measure.score(model, asked)
    gone = {id(row) for row, value in zip(asked, scores, strict=True) if value < below}
    return [row for row in rows if id(row) not in gone], [row for row in asked if id(row) in gone]


# The share of one source among the mined windows.
SOURCE_SHARE = 0.25


def mined(draw, model, rows, count, read):
    """Of `read` windows of clean texts those that the round before fears most, of no source more than its share."""
    jobs = []
    for row in rows:
        if row["label"] == 0 and not row.get("role") and row["source"].split("/")[0] not in DOUBTFUL:
            jobs += [(row, start) for start in windows.starts(len(row["pieces"]))[::2]]
    jobs = draw.sample(jobs, min(read, len(jobs)))
    parts = [{"pieces": row["pieces"][start:start + windows.WIDTH], "channel": row["channel"], "kind": "benign"} for row, start in jobs]
    scores = measure.score(model, parts)
    made, taken = [], collections.Counter()
    for at in numpy.argsort(-scores):
        row, start = jobs[at]
        source = row["source"].split("/")[0]
        if taken[source] < SOURCE_SHARE * count:
            taken[source] += 1
            made.append(windows.window(row, row["pieces"], start, 0, 1.0))
        if len(made) == count:
            break
    return made, scores


def vary(draw, row):
    """The same words in another channel, where the label holds there too."""
    chance = draw.random()
    channel = row["channel"]
    if chance < 0.08:
        channel = "unknown"
    elif row["label"] and row["kind"] in ("direct", "jailbreak", "extraction") and chance < 0.2:
        channel = draw.choice(["untrusted", "untrusted", "system"])
    elif not row["label"] and channel == "untrusted" and not row.get("role") and chance < 0.3:
        channel = "user"
    elif not row["label"] and channel == "user" and len(row["text"]) > 400 and chance < 0.12:
        channel = "system"
    return {**row, "channel": channel}


def loss_of(model, batch, unknown):
    ids, channel, real, label, kind, weight, marks, known = (torch.from_numpy(part) for part in windows.arrays(batch))
    hide = (torch.rand(ids.shape) < unknown) & (ids > 103)
    ids = torch.where(hide, windows.UNKNOWN, ids)
    with network.half():
        logits, tokens = model(ids, channel, real)
    main = F.binary_cross_entropy_with_logits(logits[:, 0], label * 0.99 + 0.005, reduction="none")
    main = (main * weight).sum() / weight.sum()
    found = kind > 0
    kinds = F.cross_entropy(logits[found, 1:], kind[found] - 1) if found.any() else 0.0
    spots = (F.binary_cross_entropy_with_logits(tokens, marks, reduction="none") * known).sum() / known.sum().clamp(min=1)
    return main + 0.1 * kinds + 0.2 * spots, float(main.detach())


def rows_of_words(lines, meanings, old_lines, old):
    """First rows of the embedding table: the old row of the same piece, else of its English meaning, else of its parts."""
    where = {piece: at for at, line in reversed(list(enumerate(old_lines))) for piece in reversed(line.split("\t"))}

    def parts(word, inner):
        found, at = [], 0
        while at < len(word):
            for end in range(len(word), at, -1):
                piece = ("##" if at or inner else "") + word[at:end]
                if piece in where:
                    found.append(where[piece])
                    at = end
                    break
            else:
                at += 1
        return found

    table = torch.empty(len(lines), network.HIDDEN)
    for at, line in enumerate(lines):
        piece = line.split("\t")[0]
        bare = piece.removeprefix("##")
        english = meanings.get(bare) if not piece.startswith("##") else None
        if piece in where:
            table[at] = old[where[piece]]
            continue
        source = [i for word in (english or "").split() for i in parts(word, False)] or parts(bare, piece.startswith("##"))
        table[at] = old[source].mean(0) if source else old[windows.UNKNOWN]
    return table


# Of the running average of the weights, what a step leaves: it looks some two hundred steps back.
KEPT = 0.995


class Average:
    """The running average of a model's weights: what it knows without the noise of its last steps. In round 6 it ranked better
    than they did while the rate was high, and no differently at the end; a round may then be stopped at any step."""

    def __init__(self, model):
        self.live = list(model.parameters())
        self.mean = [part.detach().clone() for part in self.live]
        self.steps = 0

    def update(self):
        self.steps += 1
        with torch.no_grad():
            torch._foreach_lerp_(self.mean, self.live, 1 - min(KEPT, self.steps / (self.steps + 9)))

    def swap(self):
        """The model gets the average, and the average what the model had."""
        with torch.no_grad():
            for mean, live in zip(self.mean, self.live, strict=True):
                kept = live.clone()
                live.copy_(mean)
                mean.copy_(kept)


# Rows of each part that a trial sees.
TRIAL = 600


def prepare(options):
    """Vocabulary, model and rows."""
    meanings = vocabulary.glossary(options.written / "glossary")
    everything = data.load(options.shared, options.written)
    base_lines = (options.base / "vocab.txt").read_text(encoding="utf-8").splitlines()
    texts = [row["text"] for row in everything if data.part(row) == "train"]
    used = numpy.zeros(len(base_lines), int)
    for one in windows.pieces(options.tokenise, options.base / "vocab.txt", texts):
        used[numpy.unique(one[:, 0])] += 1
    lines = vocabulary.build(base_lines, used, texts, meanings, options.pieces)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = network.Detector(len(lines), len(options.layers))
    weights = load_file(options.base / "model.safetensors")
    network.pretrained(model, weights, options.layers)
    if options.resume:
        state = torch.load(options.resume / "model.pt")
        old_lines = (options.resume / "vocab.txt").read_text(encoding="utf-8").splitlines()
        words = state.pop("words.weight")
        model.load_state_dict(state, strict=False)
        model.judged = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
    else:
        words, old_lines = weights["embeddings.word_embeddings.weight"].float(), base_lines
    with torch.no_grad():
        model.words.weight.copy_(rows_of_words(lines, meanings, old_lines, words))
    return model, everything


def cut(options, rows):
    found = windows.pieces(options.tokenise, options.out / "vocab.txt", [row["text"] for row in rows])
    for row, one in zip(rows, found, strict=True):
        row["pieces"] = one


def report(model, rows, name, log):
    line, tables, _ = measure.figures(rows, measure.score(model, rows))
    log(f"{name}: {line}")
    return tables


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    path = pathlib.Path
    parser.add_argument("out", type=path)
    parser.add_argument("--shared", type=path, required=True)
    parser.add_argument("--written", type=path, default=path(__file__).parent / "data")
    parser.add_argument("--base", type=path, required=True, help="folder with the base's model.safetensors and vocab.txt")
    parser.add_argument("--tokenise", type=path, required=True, help="the tokenise example, built")
    parser.add_argument("--resume", type=path)
    parser.add_argument("--layers", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--pieces", type=int, default=31000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--benign", type=float, default=1.0, help="share of the caps that an epoch draws from shared benign sources")
    parser.add_argument("--attacks", type=float, default=1.0, help="the same of shared attacks")
    parser.add_argument("--sentences", type=int, default=2000, help="sentences of clean texts put into others, an epoch")
    parser.add_argument("--times", type=int, default=1, help="how often an epoch sees each hand-written row, and each payload in a context")
    parser.add_argument("--rate", type=float, default=8e-5)
    parser.add_argument("--words", type=float, default=0.3, help="the rate of the word table, as a share of the others'")
    parser.add_argument("--hide", type=float, default=0.06, help="share of pieces that are hidden from a batch")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--doubt", type=float, help="leave out attacks of doubtful sources with logits below this in the round before")
    parser.add_argument("--mine", type=int, default=0, help="feared windows of clean texts that every epoch sees besides")
    parser.add_argument("--read", type=int, default=30_000, help="windows of clean texts that are read to find them")
    parser.add_argument("--steps", type=int, help="a trial of the path: few rows of each part, and so many steps of a round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    draw = random.Random(options.seed)
    began = time.time()
    model, everything = prepare(options)
    journal = open(options.out / "log.txt", "a", encoding="utf-8")

    def log(text):
        print(f"{time.time() - began:6.0f}s {text}", flush=True)
        print(f"{time.time() - began:6.0f}s {text}", file=journal, flush=True)

    parts = data.parts(everything)
    if options.steps:
        parts = {name: part[:: 1 + len(part) // TRIAL] for name, part in parts.items()}
    for held in ("dev", "test"):
        cut(options, parts[held])
    log(f"rows {({name: len(part) for name, part in parts.items()})}, {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {vars(options)}")
    feared, grown = [], model.layers
    if options.resume:
        model.layers = model.layers[: model.judged]
    if options.resume and (options.doubt is not None or options.mine):
        cut(options, parts["train"])
    if options.resume and options.mine:
        feared, scores = mined(draw, model, parts["train"], options.mine, options.read)
        log(f"{len(scores)} windows of clean texts read, {len(feared)} mined, quantiles {numpy.quantile(scores, (0.5, 0.9, 0.99, 0.999)).round(2)}")
    if options.resume and options.doubt is not None:
        parts["train"], gone = without_doubtful(model, parts["train"], options.doubt)
        log(f"{len(gone)} doubtful attacks left out, such as {[row['text'][:60] for row in draw.sample(gone, min(8, len(gone)))]}")
    model.layers = grown
    plan = []
    for _ in range(options.epochs):
        epoch = mixture(draw, parts["train"], (options.benign, options.attacks), options.times)
        epoch += compose.composed(draw, parts["train"], options.times, options.sentences)
        epoch = [vary(draw, row) for row in epoch]
        cut(options, epoch)
        batches = windows.batches(draw, feared + [one for row in epoch for one in windows.draw(draw, row)], options.tokens)
        plan.append(batches[: options.steps])
    steps = sum(len(epoch) for epoch in plan)
    tokens = sum(len(one["ids"]) for epoch in plan for batch in epoch for one in batch)
    labels = numpy.mean([one["label"] for epoch in plan for batch in epoch for one in batch])
    log(f"{steps} steps, {tokens / 1e6:.2f} M tokens, {labels:.2f} attacks")
    plain = [p for name, p in model.named_parameters() if p.ndim < 2]
    rest = [p for name, p in model.named_parameters() if p.ndim >= 2 and name != "words.weight"]
    # Words move slowly: one that training never sees should stay beside its synonyms.
    optimiser = torch.optim.AdamW([{"params": rest, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0},
                                   {"params": [model.words.weight], "weight_decay": 0.0, "lr": options.words * options.rate}], lr=options.rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: min((at + 1) / (0.06 * steps), max(0.02, 1 - at / steps)))
    done, running, average = 0, 0.0, Average(model)
    for epoch in plan:
        for batch in epoch:
            model.train()
            loss, main_loss = loss_of(model, batch, options.hide)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            average.update()
            done, running = done + 1, 0.98 * running + 0.02 * main_loss
            if done % 50 == 0:
                log(f"step {done}/{steps} loss {running / (1 - 0.98 ** done):.4f}")
            if done % 500 == 0:
                average.swap()
                torch.save(model.state_dict(), options.out / "model.pt")
                report(model, parts["dev"], "dev, averaged", log)
                average.swap()
    average.swap()
    torch.save(model.state_dict(), options.out / "model.pt")
    for name in ("dev", "test"):
        for table in report(model, parts[name], name, log):
            log(table)


if __name__ == "__main__":
    main()
