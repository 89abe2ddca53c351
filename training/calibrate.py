"""From logits to scores: the curves and thresholds of crates/injection/model/calibration.json.

Measured with the embedded, quantised model (`cargo run --release -p injection --example logits`) on the rows of `rows.parts`
"dev": sources and pairs that training never saw, and on this repository's own pages. How much many windows take off is
what finds most attacks, in short and in long texts, at the default threshold for untrusted text.
"""

import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import random
import subprocess

import numpy

import measure
import rows as data

SHARES = (0.001, 0.01, 0.05)
CHANNELS = ("system", "user", "untrusted", "output")


# What a window logit loses for each e-fold of windows, and from how many windows on it loses no more: those are taken that find
# most attacks at the default threshold for untrusted text, in texts of a few windows, in longer ones, and in very long ones.
MANY = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
WINDOWS_MOST = (12, 36, 108)
FEW = 3
# Within what the linear stage's log-odds count, and the weights that are tried: the one that finds most attacks at one
# harmless text in a thousand, in a hundred and in twenty, taken together, is taken.
LINEAR_MOST = 3.0
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4)
# What the default threshold may cost: the share of benign texts, half of them written to be hard, and that of long clean
# documents, that are taken for attacks.
BENIGN = 0.05
LONG_CLEAN = 0.03
# From so many benign texts of a channel that were left out on, its own shares are known. With fewer, but some, the default
# lets all of them pass and is no laxer than the 1 % of all channels; with hardly any it is as strict as can be.
ENOUGH, SOME = 300, 50
# Share of the attacks in trusted channels that the linear stage may keep from the transformer.
LOST = 0.02
# Long clean documents that nobody trained on: this repository's own sources and pages, but for those that quote attacks.
LONG = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/**/*.md", "crates/*/src/**/*.rs", "scripts/*", "migrations/**/*.sql"]
QUOTING = ("crates/injection", "crates/normalise", "redteam", "docs/guards", "docs/inspect", "docs/model-card")
LONG_LEAST, LONG_MOST = 3_000, 40_000


def long_rows(rows):
    """Each of them clean, and once more with an attack of the rows put at the end of one of its lines."""
    draw = random.Random(7)
    attacks = [row for row in rows if row["label"] and row["channel"] == "untrusted" and row["lang"] == "en"]
    root = pathlib.Path(__file__).resolve().parent.parent
    made = []
    for path in sorted({path for pattern in LONG for path in root.glob(pattern) if path.is_file()}):
        text = path.read_text(encoding="utf-8")[:LONG_MOST]
        if len(text) < LONG_LEAST or any(part in str(path) for part in QUOTING):
            continue
        row = {"text": text, "label": 0, "channel": "untrusted", "kind": "benign", "source": "long", "lang": "en"}
        lines = text.split("\n")
        lines.insert(draw.randrange(len(lines)), draw.choice(attacks)["text"])
        made += [row, {**row, "text": "\n".join(lines), "label": 1, "kind": "indirect"}]
    return made


def logits(tool, rows):
    """What the tool says of each row, with a process for each processor."""
    processes = os.cpu_count() or 1

    def said(share):
        lines = "".join(json.dumps({"text": row["text"], "channel": row["channel"]}) + "\n" for row in share)
        out = subprocess.run([str(tool)], input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout
        return [json.loads(line) for line in out.splitlines()]

    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        shares = list(pool.map(said, [rows[at::processes] for at in range(processes)]))
    return [shares[at % processes][at // processes] for at in range(len(rows))]


def joined(forms, linear, many, most, weight):
    """The values that are calibrated: as `Calibration::score` in the binary joins them."""
    taken = lambda windows: many * math.log(min(windows, most))
    highest = numpy.array([max((logit - taken(windows) for logit, windows in form), default=-20.0) for form in forms])
    return highest + weight * numpy.clip(linear, -LINEAR_MOST, LINEAR_MOST)


def curve(labels, values):
    """Logistic regression of one variable, attacks and benign rows weighing the same."""
    weights = numpy.where(labels == 1, 0.5 / max(1, labels.sum()), 0.5 / max(1, (1 - labels).sum()))
    slope, offset = 1.0, 0.0
    for _ in range(100):
        chance = 1 / (1 + numpy.exp(-(slope * values + offset)))
        gradient = numpy.array([(weights * (chance - labels) * values).sum(), (weights * (chance - labels)).sum()])
        curved = weights * chance * (1 - chance)
        hessian = numpy.array([[(curved * values**2).sum(), (curved * values).sum()], [(curved * values).sum(), curved.sum()]])
        step = numpy.linalg.solve(hessian + 1e-6 * numpy.eye(2), gradient)
        slope, offset = slope - step[0], offset - step[1]
    return slope, offset


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--shared", type=pathlib.Path, required=True)
    parser.add_argument("--written", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    parser.add_argument("--logits", type=pathlib.Path, required=True, help="the logits example, built")
    options = parser.parse_args()
    rows = data.parts(data.load(options.shared, options.written))["dev"]
    rows += long_rows(rows)
    labels = numpy.array([row["label"] for row in rows])
    long = numpy.array([row["source"] == "long" for row in rows])
    channels = numpy.array([row["channel"] for row in rows])
    said = logits(options.logits, rows)
    forms = [one["forms"] for one in said]
    linear = numpy.array([one["linear"] for one in said])
    untrusted = channels == "untrusted"
    weights = {}
    for weight in WEIGHTS:
        values = joined(forms, linear, 0.5, WINDOWS_MOST[0], weight)
        found = [(values[~long & (labels == 1)] >= measure.threshold(values[~long & (labels == 0)], share)).mean() for share in SHARES]
        print(f"linear weight {weight}: AUC {measure.auc(labels[~long], values[~long]):.4f}, recall {numpy.round(found, 3)}")
        weights[weight] = sum(found)
    weight = max(weights, key=weights.get)

    few = numpy.array([max((windows for _, windows in form), default=0) <= FEW for form in forms])
    classes = [part & untrusted for part in (few & ~long, ~few & ~long, long)]

    def shipped(many, most):
        """The default threshold for untrusted text, and its recall on texts of few windows, of more, and very long ones."""
        values = joined(forms, linear, many, most, weight)
        cut = max(measure.threshold(values[untrusted & ~long & (labels == 0)], BENIGN), measure.threshold(values[long & (labels == 0)], LONG_CLEAN))
        return cut, [(values[part & (labels == 1)] >= cut).mean() for part in classes]

    tried = {(many, most): shipped(many, most) for many in MANY for most in WINDOWS_MOST}
    for (many, most), (cut, found) in tried.items():
        ranks = measure.auc(labels, joined(forms, linear, many, most, weight))
        print(f"many windows {many} of at most {most}: AUC {ranks:.4f}, untrusted at {cut:.2f}: recall {numpy.round(found, 3)}")
    many, most = max(tried, key=lambda pair: sum(tried[pair][1]))
    values = joined(forms, linear, many, most, weight)
    slope, offset = curve(labels, values)
    score = lambda value: round(1 / (1 + math.exp(-(slope * value + offset))), 6)
    trusted = (channels != "untrusted") & ~long
    low = float(numpy.quantile(linear[trusted & (labels == 1)], LOST))
    print(f"linear below {low:.3f}: {(linear[trusted & (labels == 0)] < low).mean():.3f} of benign rows in trusted channels are left alone")
    unread = float(joined(forms, linear, 0.0, 1, 0.0)[trusted & (labels == 0) & (linear < low)].mean())
    made = {"many_windows": many, "windows_most": most, "linear_weight": weight, "linear_most": LINEAR_MOST,
            "linear_low": round(low, 4), "unread": round(unread, 4)}
    for channel in CHANNELS:
        own = values[(labels == 0) & (channels == channel) & ~long]
        benign = own if len(own) >= ENOUGH else values[(labels == 0) & ~long]
        cuts = [measure.threshold(benign, share) for share in SHARES]
        if channel == "untrusted":
            default = tried[many, most][0]
        elif len(own) >= ENOUGH:
            default = cuts[-1]
        elif len(own) >= SOME:
            default = max(cuts[1], measure.threshold(own, 0.0))
        else:
            default = cuts[0]
        made[channel] = {"slope": slope, "offset": offset, "default": score(default), "thresholds": [score(cut) for cut in cuts]}
        attacks = values[(labels == 1) & (channels == channel) & ~long]
        found = [round(float((attacks >= cut).mean()), 3) if len(attacks) else None for cut in (default, *cuts)]
        print(channel, len(benign), "benign", made[channel], "recall", found)
    options.out.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
