"""Scores of rows, and the figures that rank detectors: AUC, and recall at fixed shares of false positives."""

import numpy
import torch

from network import half
from windows import STRIDE, WIDTH, arrays, batches, starts, window  # noqa: F401


class Order:
    """Stands in for `random` where nothing is to be drawn."""

    random = staticmethod(lambda: 0.0)
    shuffle = staticmethod(lambda made: None)


def score(model, rows, key="pieces", most=24, tokens=8192):
    """The highest window logit of each row (at most `most` windows a row, spread evenly); -20 where there is no text."""
    jobs = []
    for at, row in enumerate(rows):
        cut = row[key]
        if cut is None or not len(cut):
            continue
        begin = starts(len(cut))
        if len(begin) > most:
            begin = [begin[i * len(begin) // most] for i in range(most)]
        for start in begin:
            one = window(row, cut, start, 0, 1.0)
            one["row"] = at
            jobs.append(one)
    best = numpy.full(len(rows), -20.0)
    model.eval()
    with torch.no_grad(), half():
        for batch in batches(Order, jobs, tokens):
            ids, channel, real, *_ = arrays(batch)
            logits, _ = model(torch.from_numpy(ids), torch.from_numpy(channel), torch.from_numpy(real))
            for one, logit in zip(batch, logits[:, 0].tolist(), strict=True):
                best[one["row"]] = max(best[one["row"]], logit)
    return best


def auc(labels, scores):
    order = numpy.argsort(scores, kind="stable")
    ranks = numpy.empty(len(scores))
    sorted_scores = scores[order]
    _, first, counts = numpy.unique(sorted_scores, return_index=True, return_counts=True)
    for start, count in zip(first, counts, strict=True):
        ranks[order[start:start + count]] = start + (count + 1) / 2
    positives = labels.sum()
    negatives = len(labels) - positives
    return (ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives)


def threshold(benign, share):
    """The lowest score that at most that share of the benign rows reaches."""
    ordered = numpy.sort(benign)[::-1]
    allowed = int(share * len(ordered))
    return float(numpy.nextafter(ordered[min(allowed, len(ordered) - 1)], numpy.inf))


def figures(rows, scores):
    """One line of figures, and tables by source, kind, channel and language at the threshold of 1 %."""
    labels = numpy.array([row["label"] for row in rows])
    benign = scores[labels == 0]
    at = {share: threshold(benign, share) for share in (0.001, 0.01, 0.05)}
    line = f"rows {len(rows)} attacks {labels.sum()} AUC {auc(labels, scores):.4f} " + " ".join(
        f"R@{share:.1%} {(scores[labels == 1] >= cut).mean():.3f}" for share, cut in at.items())
    tables = []
    for name in ("source", "kind", "channel", "lang"):
        groups = {}
        for row, label, value in zip(rows, labels, scores, strict=True):
            groups.setdefault((str(row[name]), int(label)), []).append(value)
        tables.append(name + ": " + "; ".join(
            f"{key}{'+' if label else '-'} {len(values)} {(numpy.array(values) >= at[0.01]).mean():.3f}"
            for (key, label), values in sorted(groups.items()) if len(values) >= 8))
    return line, tables, at
