"""What retrieving adds, what tuning adds, and whether they help or hinder each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.seeds import parts
from phi3kit.compare.sentence import interval_text
from phi3kit.compare.statistics import paired_p
from phi3kit.records import OPTIONS, Effect, Interval, Option, Row, TrainingSeeds

_Name = Literal["retrieval", "tuning", "interaction"]
_Scores = Mapping[str, float]

# Contrasts of a 2x2 factorial design with their largest possible size (Montgomery, Design and
# Analysis of Experiments, section 6.2; the interaction is not halved, so that it reads as "so
# much more than the sum of both").
_CONTRASTS: tuple[tuple[_Name, Callable[[_Scores], float], float], ...] = (
    ("retrieval", lambda s: (s["rag"] - s["base"] + s["both"] - s["finetune"]) / 2, 1.0),
    ("tuning", lambda s: (s["finetune"] - s["base"] + s["both"] - s["rag"]) / 2, 1.0),
    ("interaction", lambda s: s["both"] - s["rag"] - s["finetune"] + s["base"], 2.0),
)


def effects(rows: Sequence[Row], metric: str, method: Method,
            seeds: Sequence[TrainingSeeds] = ()) -> tuple[Effect, ...]:
    """The two main effects and the interaction, paired by question, clustered by document.

    They explain the verdict and do not decide it, so that their p-values are not adjusted.

    Args:
        rows: of every arm; each option that ran has the same questions.
        metric: the deciding metric, which every row has.
        method: level, resamples and seed.
        seeds: of the arms that answered with several.

    Returns:
        Retrieval, tuning and interaction; nothing unless all four options ran.
    """
    scores: dict[str, dict[str, float]] = {}
    cluster: dict[str, str] = {}
    for row in rows:
        if row.arm in OPTIONS:
            scores.setdefault(row.question_id, {})[row.arm] = row.metrics[metric]
            cluster[row.question_id] = row.cluster
    if not scores or any(set(each) != set(OPTIONS) for each in scores.values()):
        return ()
    found: list[Effect] = []
    for name, contrast, limit in _CONTRASTS:  # the interaction last
        values = [(cluster[key], contrast(each)) for key, each in scores.items()]
        added = parts(seeds, [(arm, metric, _weight(contrast, arm)) for arm in OPTIONS])
        p = paired_p(values, method, added)
        difference = interval(values, method, bounds=(-limit, limit), seeds=added)
        both_add = all(main.difference.mean > 0 for main in found)
        found.append(Effect(name, difference, p,
                            _sentence(name, difference, p, method, both_add=both_add)))
    return tuple(found)


def _weight(contrast: Callable[[_Scores], float], arm: Option) -> float:
    """What an arm's score counts in a contrast."""
    return contrast({option: float(option == arm) for option in OPTIONS})


def _sentence(name: _Name, seen: Interval, p: float, method: Method, *, both_add: bool) -> str:
    up = seen.mean >= 0
    sized = seen if seen.mean >= 0 else Interval(-seen.mean, -seen.high, -seen.low)
    said = f"{sized.mean:.2f} ({interval_text(sized, method.confidence)})"
    sure = p < 1 - method.confidence
    if name == "interaction":
        if not sure:
            return (f"Whether the two help or hinder each other is not shown: together they add "
                    f"{said} {'more' if up else 'less'} than one by one.")
        why = ("each helps the other" if up else "each does part of what the other does"
               if both_add else "one stands in the other's way")
        return f"Together they add {said} {'more' if up else 'less'} than one by one: {why}."
    does, over = {"retrieval": ("Retrieving", "untuned and tuned models"),
                  "tuning": ("Tuning", "answers without and with passages")}[name]
    doubt = "" if sure else "; that may be chance"
    return f"{does} {'adds' if up else 'takes'} {said}, averaged over {over}{doubt}."
