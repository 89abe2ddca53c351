"""From logits to scores: the curves and thresholds of crates/injection/model/calibration.json.

Measured with the embedded, quantised model (`cargo run --release -p injection --example logits`) on the rows of `rows.part`
"dev": sources and pairs that training never saw. How much many windows take off is the value with the best recall at 1 %.
"""

import argparse
import json
import math
import pathlib
import random
import subprocess

import numpy

import measure
import rows as data

SHARES = (0.001, 0.01, 0.05)
CHANNELS = ("system", "user", "untrusted", "output")


# Share of the attacks in trusted channels that the linear stage may keep from the transformer.
LOST = 0.02
# Long documents, put together from rows that training never saw, clean and with one attack among them.
LONG = 150


def long_rows(rows):
    """Documents of 4,000 to 30,000 characters: what many windows do to the highest one is measured on them."""
    draw = random.Random(7)
    clean = [row for row in rows if not row["label"] and row["channel"] == "untrusted" and row["lang"] == "en" and not row.get("role")]
    attacks = [row for row in rows if row["label"] and row["channel"] == "untrusted" and row["lang"] == "en"]
    made = []
    for label in [0, 1] * LONG:
        size, texts = int(4000 * 7.5 ** draw.random()), []
        while sum(map(len, texts)) < size:
            texts.append(draw.choice(clean)["text"])
        if label:
            texts.insert(draw.randrange(len(texts) + 1), draw.choice(attacks)["text"])
        made.append({"text": "\n\n".join(texts), "label": label, "channel": "untrusted", "kind": "indirect" if label else "benign",
                     "source": "long", "lang": "en"})
    return made


def logits(tool, rows):
    lines = "".join(json.dumps({"text": row["text"], "channel": row["channel"]}) + "\n" for row in rows)
    out = subprocess.run([str(tool)], input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def joined(forms, many):
    return numpy.array([max((logit - many * math.log(windows) for logit, windows in form), default=-20.0) for form in forms])


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
    rows = [row for row in data.load(options.shared, options.written) if data.part(row) == "dev"]
    rows += long_rows(rows)
    labels = numpy.array([row["label"] for row in rows])
    long = numpy.array([row["source"] == "long" for row in rows])
    channels = numpy.array([row["channel"] for row in rows])
    said = logits(options.logits, rows)
    forms = [one["forms"] for one in said]
    tried = {}
    for many in (0.0, 0.25, 0.5, 0.75, 1.0):
        values = joined(forms, many)
        cut = measure.threshold(values[labels == 0], 0.01)
        tried[many] = (measure.auc(labels, values), (values[labels == 1] >= cut).mean())
        print(f"many windows {many}: AUC {tried[many][0]:.4f}, recall at 1 % {tried[many][1]:.3f}; of long documents "
              f"{(values[long & (labels == 0)] >= cut).mean():.3f} clean and {(values[long & (labels == 1)] >= cut).mean():.3f} attacks reach it")
    many = max(tried, key=lambda value: tried[value][1])
    values = joined(forms, many)
    slope, offset = curve(labels, values)
    score = lambda value: 1 / (1 + math.exp(-(slope * value + offset)))
    linear = numpy.array([one["linear"] for one in said])
    trusted = (channels != "untrusted") & ~long
    low = float(numpy.quantile(linear[trusted & (labels == 1)], LOST))
    print(f"linear below {low:.3f}: {(linear[trusted & (labels == 0)] < low).mean():.3f} of benign rows in trusted channels are left alone")
    made = {"many_windows": many, "linear_low": round(low, 4)}
    for channel in CHANNELS:
        own = values[(labels == 0) & (channels == channel)]
        benign = own if len(own) >= 300 else values[labels == 0]
        cuts = [measure.threshold(benign, share) for share in SHARES]
        made[channel] = {"slope": slope, "offset": offset, "thresholds": [round(score(cut), 6) for cut in cuts]}
        attacks = values[(labels == 1) & (channels == channel)]
        print(channel, len(benign), "benign", [(share, round(score(cut), 4), round(float((attacks >= cut).mean()), 3)) for share, cut in zip(SHARES, cuts)])
    options.out.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
